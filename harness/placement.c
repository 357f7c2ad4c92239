#include "harness/placement.h"

#include <stddef.h>

static const char *why_idle(const sb_rank_facts *facts, int rank, int first,
                            const sb_rank_needs *needs, const sb_place *places)
{
    const sb_rank_facts *own = &facts[rank];
    if (needs->device && own->device == 0)
        return "it has no CUDA device";
    for (int r = first; r < rank; r++) {
        if (!places[r].works || facts[r].host != own->host)
            continue;
        if (needs->alone)
            return "another rank of its host computes, and cells are timed alone";
        if (needs->device && facts[r].device == own->device)
            return "another rank of its host has its CUDA device";
    }
    return NULL;
}

/* Part i of n of a set's cores: neighbours; one at least, shared where there are too few. */
static void part_of(const cpu_set_t *all, int i, int n, cpu_set_t *part)
{
    int64_t n_cores = CPU_COUNT(all), from = n_cores * i / n, to = n_cores * (i + 1) / n;
    int64_t at = 0;
    CPU_ZERO(part);
    for (size_t core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, all)) {
            if (at == from || (at > from && at < to))
                CPU_SET(core, part);
            at++;
        }
}

static void divide_cores(const sb_rank_facts *facts, int n, int rank, sb_place *places)
{
    int before = 0, sharers = 0;
    for (int r = 0; r < n; r++) {
        if (!places[r].works || facts[r].host != facts[rank].host ||
            !CPU_EQUAL(&facts[r].cores, &facts[rank].cores))
            continue;
        before += r < rank;
        sharers++;
    }
    part_of(&facts[rank].cores, before, sharers, &places[rank].cores);
}

void sb_places(const sb_rank_facts *facts, int n, const sb_rank_needs *needs, sb_place *places)
{
    int first = n > 1;
    for (int r = 0; r < n; r++) {
        places[r] = (sb_place){.cores = facts[r].cores};
        if (r < first)
            continue;
        places[r].idle = why_idle(facts, r, first, needs, places);
        places[r].works = !places[r].idle;
    }
    for (int r = first; r < n; r++)
        if (places[r].works)
            divide_cores(facts, n, r, places);
}
