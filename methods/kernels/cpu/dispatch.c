#include "methods/kernels/cpu/attend.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
extern const sb_attend_kernel sb_cpu_amx, sb_cpu_portable_avx512, sb_cpu_portable_avx2,
    sb_cpu_portable_x86_64;
static const sb_attend_kernel *const kernels[] = {&sb_cpu_amx, &sb_cpu_portable_avx512,
                                                  &sb_cpu_portable_avx2, &sb_cpu_portable_x86_64};
#else
extern const sb_attend_kernel sb_cpu_portable_generic;
static const sb_attend_kernel *const kernels[] = {&sb_cpu_portable_generic};
#endif

enum { N_KERNELS = sizeof kernels / sizeof kernels[0] };

const sb_attend_kernel *const *sb_cpu_kernels(int *n)
{
    *n = N_KERNELS;
    return kernels;
}

bool sb_isa_known(const char *isa)
{
    for (int i = 0; i < N_KERNELS; i++)
        if (strcmp(kernels[i]->isa, isa) == 0)
            return true;
    return false;
}

static const char *limit;

sb_status sb_isa_limit(const char *isa, sb_err *err)
{
    static const char *const levels[] = {"amx", "avx512", "avx2", "x86-64"};
    bool known = sb_isa_known(isa);
    for (int i = 0; i < N_KERNELS; i++) {
        if (strcmp(kernels[i]->isa, isa) != 0 || !kernels[i]->available())
            continue;
        limit = kernels[i]->isa;
        return SB_OK;
    }
    if (known)
        return sb_fail(err, SB_UNAVAILABLE, "isa %s: this machine has not got it", isa);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(levels[i], isa) == 0)
            return sb_fail(err, SB_UNAVAILABLE, "isa %s: this build has not got it", isa);
    return sb_fail(err, SB_USAGE, "isa is '%.40s'; expected amx, avx512, avx2 or x86-64", isa);
}

static const sb_attend_kernel *best(const sb_problem *p, int64_t block, bool tokens)
{
    const char *max = limit ? limit : getenv("STEMBENCH_ISA_MAX");
    int from = 0;
    /* The table descends, so the limit is where to start; an unknown name allows the last only. */
    while (max && from < N_KERNELS - 1 && strcmp(kernels[from]->isa, max) != 0)
        from++;
    for (int i = from; i < N_KERNELS - 1; i++)
        if ((kernels[i]->tokens || !tokens) && sb_attend_runs(kernels[i], p, block))
            return kernels[i];
    return kernels[N_KERNELS - 1];
}

const sb_attend_kernel *sb_cpu_kernel_for(const sb_problem *p, int64_t block)
{
    return best(p, block, false);
}

const sb_attend_kernel *sb_cpu_token_kernel_for(const sb_problem *p)
{
    return best(p, SB_TOKEN_BLOCK, true);
}
