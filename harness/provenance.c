#include "harness/provenance.h"

#include <hdf5.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <yaml.h>

#include "harness/hash.h"
#include "harness/mem.h"
#include "sb_version.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

const char *sb_version(void)
{
    return SB_VERSION " (commit " SB_COMMIT ")";
}

int sb_cores(void)
{
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

/* The value of the first "key : value" line of a /proc file, or "unknown". */
static void proc_field(const char *path, const char *key, char *value, size_t bytes)
{
    char line[256];
    FILE *file = fopen(path, "r");
    (void)snprintf(value, bytes, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        (void)snprintf(value, bytes, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    if (file)
        (void)fclose(file);
}

/* The clock of a core, "unknown" where the machine does not tell. */
static void core_mhz(int core, char *value, size_t bytes)
{
    char line[256];
    int at = -1;
    double mhz;
    FILE *file = fopen("/proc/cpuinfo", "r");
    (void)snprintf(value, bytes, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        (void)sscanf(line, "processor : %d", &at);
        if (at != core || sscanf(line, "cpu MHz : %lf", &mhz) != 1)
            continue;
        (void)snprintf(value, bytes, "%.0f", mhz);
        break;
    }
    if (file)
        (void)fclose(file);
}

/* A line that the kernel has of a core's clock, or "unknown". */
static void core_setting(int core, const char *name, char value[64])
{
    char path[128];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/%s", core, name);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(value, 64, file))
        (void)snprintf(value, 64, "unknown");
    value[strcspn(value, "\n")] = '\0';
    if (file)
        (void)fclose(file);
}

/* "2600 now, 800 to 3900; governor performance", of the core that this thread is on: others may
 * idle. */
static void describe_clock(char text[256])
{
    char now[32], low[64], high[64], governor[64], range[64] = "";
    int core = sched_getcpu();
    core_mhz(core, now, sizeof now);
    core_setting(core, "cpuinfo_min_freq", low);
    core_setting(core, "cpuinfo_max_freq", high);
    core_setting(core, "scaling_governor", governor);
    if (atol(high) > 0)
        (void)snprintf(range, sizeof range, ", %ld to %ld", atol(low) / 1000, atol(high) / 1000);
    (void)snprintf(text, 256, "%s now%s; governor %s", now, range, governor);
}

char *sb_provenance(const char *kernel, int n_cores, int n_threads, int pinned, const char *device)
{
    unsigned h5[3] = {0};
    int yaml[3] = {0};
    char cpu[128], clock[256], memory[64], utc[32];
    struct utsname os = {0};
    time_t now = time(NULL);
    struct tm tm;
    (void)H5get_libversion(&h5[0], &h5[1], &h5[2]);
    yaml_get_version(&yaml[0], &yaml[1], &yaml[2]);
    proc_field("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    describe_clock(clock);
    proc_field("/proc/meminfo", "MemTotal", memory, sizeof memory);
    (void)uname(&os);
    (void)gmtime_r(&now, &tm);
    (void)strftime(utc, sizeof utc, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return sb_sprintf("stembench: %s\n"
                      "commit: %s\n"
                      "build_id: %016llx\n"
                      "compiler: %s\n"
                      "flags: \"%s\"\n"
                      "options: \"%s\"\n"
                      "hdf5: %u.%u.%u\n"
                      "libyaml: %d.%d.%d\n"
                      "os: %s %s\n"
                      "cpu: \"%s\"\n"
                      "cpu_mhz: \"%s\"\n"
                      "cores: %d\n"
                      "memory: %s\n"
                      "kernel: %s\n"
                      "threads: %d\n"
                      "pinned: %s\n"
                      "cache_state: warm\n"
                      "%s"
                      "utc: %s\n",
                      SB_VERSION, SB_COMMIT, (unsigned long long)sb_build_id(), COMPILER, SB_FLAGS,
                      SB_OPTIONS, h5[0], h5[1], h5[2], yaml[0], yaml[1], yaml[2], os.sysname,
                      os.machine, cpu, clock, n_cores, memory, kernel, n_threads,
                      pinned ? "true" : "false", device, utc);
}

const char *sb_provenance_value(const char *provenance, const char *name, int *n)
{
    size_t length = strlen(name);
    for (const char *line = provenance; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) != 0 || strncmp(line + length, ": ", 2) != 0)
            continue;
        const char *value = line + length + 2;
        bool quoted = *value == '"';
        value += quoted;
        *n = (int)strcspn(value, quoted ? "\"\n" : "\n");
        return value;
    }
    *n = 0;
    return "";
}

bool sb_provenance_same_machine(const char *a, const char *b)
{
    static const char *const names[] = {"cpu", "gpu", "cores", "threads"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int n_x, n_y;
        const char *x = sb_provenance_value(a, names[i], &n_x);
        const char *y = sb_provenance_value(b, names[i], &n_y);
        if (n_x != n_y || memcmp(x, y, (size_t)n_x) != 0)
            return false;
    }
    return true;
}

uint64_t sb_build_id(void)
{
    unsigned char buf[65536];
    uint64_t hash = 0;
    size_t n;
    FILE *file = fopen("/proc/self/exe", "rb");
    if (!file)
        return 0;
    while ((n = fread(buf, 1, sizeof buf, file)) > 0)
        hash = sb_hash64(buf, n, hash);
    (void)fclose(file);
    return hash;
}
