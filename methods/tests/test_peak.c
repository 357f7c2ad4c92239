/* The probe of the machine's peak: a believable number for each level that is there. */

#include <math.h>
#include <string.h>

#include "harness/tests/check.h"
#include "methods/kernels/cpu/attend.h"
#include "methods/kernels/cpu/peak.h"

int main(void)
{
    int n;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n);
    for (int i = 0; i < n; i++) {
        TEST(kernels[i]->isa);
        double one = sb_cpu_peak_gflops(kernels[i]->isa, 1);
        double two = sb_cpu_peak_gflops(kernels[i]->isa, 2);
        if (!kernels[i]->available()) {
            EXPECT(isnan(one));
            continue;
        }
        printf("%-7s %8.1f GFLOP/s, two threads %8.1f\n", kernels[i]->isa, one, two);
        /* A multiply-add at a clock of 100 MHz is slower than any machine; tiles at 10 GHz faster.
         */
        EXPECT_MSG(one > .2 && one < 1e5, "%g", one);
        /* How the two compare depends on what else the machine does. */
        EXPECT_MSG(two > .2 && two < 2e5, "%g", two);
    }
    TEST("a level that no kernel has");
    EXPECT(isnan(sb_cpu_peak_gflops("unheard-of", 1)));
    return sb_tests_done();
}
