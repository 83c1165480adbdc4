#include "base/machine.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine/moe.h"

/* The first number of a file of /sys, without its unit, or `absent`. */
static unsigned long long read_number(const char *path, unsigned long long absent) {
    FILE *f = fopen(path, "re");
    if (!f) return absent;
    unsigned long long n;
    if (fscanf(f, "%llu", &n) != 1) n = absent;
    fclose(f);
    return n;
}

/* The number after `name` and a colon or space, at the beginning of a line of the file, or `absent`. */
static unsigned long long read_field(const char *path, const char *name, unsigned long long absent) {
    FILE *f = fopen(path, "re");
    char line[128];
    unsigned long long n = absent, found;
    size_t n_name = strlen(name);
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, n_name) && (line[n_name] == ':' || line[n_name] == ' ') &&
            sscanf(line + n_name + 1, "%llu", &found) == 1)
            n = found;
    if (f) fclose(f);
    return n;
}

static size_t to_size(unsigned long long n) {
    return n > SIZE_MAX ? SIZE_MAX : (size_t)n;
}

static size_t read_meminfo(const char *name) {
    unsigned long long kib = read_field("/proc/meminfo", name, UINT64_MAX / 1024);
    return kib >= UINT64_MAX / 1024 ? SIZE_MAX : to_size(kib * 1024);
}

size_t moe_memory_limit(void) {
    return to_size(read_number("/sys/fs/cgroup/memory.max", UINT64_MAX));
}

size_t moe_memory_total(void) {
    return read_meminfo("MemTotal");
}

/* Of what a control group holds, pages of files can be dropped: weights that were read are most of them. */
static size_t held_by_group(void) {
    static const char stat[] = "/sys/fs/cgroup/memory.stat";
    unsigned long long held = read_number("/sys/fs/cgroup/memory.current", 0);
    unsigned long long files = read_field(stat, "inactive_file", 0) + read_field(stat, "active_file", 0);
    return to_size(held > files ? held - files : 0);
}

size_t moe_memory_available(void) {
    size_t available = read_meminfo("MemAvailable"), limit = moe_memory_limit();
    if (limit == SIZE_MAX) return available;
    size_t held = held_by_group(), rest = limit > held ? limit - held : 0;
    return rest < available ? rest : available;
}

/* The lowest-numbered hardware thread of the core that `cpu` belongs to: siblings share it. */
static unsigned long long first_sibling(size_t cpu) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/topology/thread_siblings_list", cpu);
    return read_number(path, cpu);
}

size_t moe_physical_cores(void) {
    cpu_set_t allowed, seen;
    CPU_ZERO(&seen);
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return 1;
    size_t n = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        unsigned long long core = first_sibling(cpu);
        if (core >= CPU_SETSIZE || CPU_ISSET(core, &seen)) continue;
        CPU_SET(core, &seen);
        n++;
    }
    return n ? n : 1;
}

/* Number `field` of the last cache that serves `cpu`: caches are numbered outwards. */
static unsigned long long last_cache(size_t cpu, const char *field) {
    unsigned long long value = 0, absent = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        char path[96];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/cache/index%d/%s", cpu, i, field);
        unsigned long long n = read_number(path, absent);
        if (n == absent) break;
        value = n;
    }
    return value;
}

size_t moe_cache_bytes(void) {
    cpu_set_t allowed, seen;
    CPU_ZERO(&seen);
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return 0;
    size_t bytes = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        unsigned long long first = last_cache(cpu, "shared_cpu_list");
        if (first >= CPU_SETSIZE || CPU_ISSET(first, &seen)) continue;
        CPU_SET(first, &seen);
        bytes += (size_t)last_cache(cpu, "size") * 1024; /* in KiB, whatever its size */
    }
    return bytes;
}
