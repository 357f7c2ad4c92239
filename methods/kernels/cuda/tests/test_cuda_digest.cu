/* Digests of the device against the same sums on the host, aligned and not. */

#include <cstdlib>
#include <cstring>
#include <vector>

#include "harness/tests/check.h"
#include "methods/kernels/cuda/device.h"
#include "methods/kernels/cuda/digest.h"

namespace
{

enum { EXIT_SKIPPED = 77 };

uint64_t host_digest(const unsigned char *part, int64_t n_bytes, int64_t word_bytes)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < n_bytes / word_bytes; i++) {
        uint64_t word = 0;
        memcpy(&word, part + i * word_bytes, (size_t)word_bytes);
        sum += sb_digest_word(word, (uint64_t)i);
    }
    return sum;
}

void digests_match(int64_t n_parts, int64_t part_bytes, int64_t offset)
{
    int64_t n_bytes = n_parts * part_bytes;
    bool wide = part_bytes % 8 == 0 && offset % 8 == 0;
    std::vector<unsigned char> host((size_t)n_bytes);
    std::vector<uint64_t> got((size_t)n_parts);
    sb_err err = {};
    void *x = nullptr, *sums = nullptr;
    for (unsigned char &byte : host)
        byte = (unsigned char)rand();
    REQUIRE(sb_cuda_malloc(n_bytes + offset, "bytes", &x, &err) == SB_OK);
    REQUIRE(sb_cuda_malloc(n_parts * 8, "sums", &sums, &err) == SB_OK);
    char *from = (char *)x + offset;
    EXPECT(sb_cuda_to_device(from, host.data(), n_bytes, nullptr, &err) == SB_OK);
    for (int twice = 0; twice < 2; twice++)
        EXPECT(sb_cuda_digest(from, n_parts, part_bytes, (uint64_t *)sums, nullptr, &err) == SB_OK);
    EXPECT(sb_cuda_to_host(got.data(), sums, n_parts * 8, nullptr, &err) == SB_OK);
    EXPECT_MSG(sb_cuda_sync(nullptr, &err) == SB_OK, "%s", err.msg);
    for (int64_t i = 0; i < n_parts; i++)
        EXPECT_MSG(got[(size_t)i] ==
                       host_digest(host.data() + i * part_bytes, part_bytes, wide ? 8 : 2),
                   "part %d of %d bytes", (int)i, (int)part_bytes);
    sb_cuda_free(sums);
    sb_cuda_free(x);
}

} // namespace

int main()
{
    sb_err why = {};
    if (!sb_cuda_available(&why)) {
        printf("skipped: %s\n", why.msg);
        return EXIT_SKIPPED;
    }
    TEST("whole words");
    digests_match(5, 1 << 20, 0);
    digests_match(1, 8, 0);
    TEST("half words, and pieces that are not aligned");
    digests_match(3, 10, 0);
    digests_match(4, 4096, 2);
    return sb_tests_done();
}
