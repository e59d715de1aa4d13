/*
 * inventory.c - capacity from affinity, cgroup limits, /proc/meminfo and the file system.
 */
#include "inventory.h"
#include "attributes.h"
#include "limits.h"
#include "quantity.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

enum { LINE_BYTES = 512, CPUS_MAX = 8192 };

static int64_t cpus_milli(void)
{
    size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    int64_t count = 1;

    if (set != NULL && sched_getaffinity(0, size, set) == 0)
        count = CPU_COUNT_S(size, set);
    CPU_FREE(set);
    return count * 1000;
}

/* Find the cgroup of this process in the unified hierarchy or in that of a v1 controller; false:
 * there is none. */
static bool cgroup_path(const char *controller, char *to, size_t size)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[LINE_BYTES];
    bool found = false;

    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *names = strchr(line, ':');
        char *path = names == NULL ? NULL : strchr(names + 1, ':');
        if (path == NULL)
            continue;
        *path++ = '\0';
        names++;
        if (controller[0] == '\0' && names[0] == '\0') {
            snprintf(to, size, "/sys/fs/cgroup%s", path);
            found = true;
        } else if (controller[0] != '\0' && strstr(names, controller) != NULL) {
            snprintf(to, size, "/sys/fs/cgroup/%s%s", controller, path);
            found = true;
        }
    }
    if (f != NULL)
        fclose(f);
    return found;
}

/* Read up to two numbers of a cgroup file; "max" and a missing file give none. */
static int cgroup_numbers(const char *controller, const char *file, long long ret[2])
{
    char dir[LINE_BYTES], path[LINE_BYTES + 64];
    int count = 0;

    if (!cgroup_path(controller, dir, sizeof(dir)))
        return 0;
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    count = fscanf(f, "%lld %lld", &ret[0], &ret[1]);
    fclose(f);
    return MAX(count, 0);
}

static int64_t cpu_quota_milli(int64_t cpus)
{
    long long v[2], period[2];

    if (cgroup_numbers("", "cpu.max", v) == 2 && v[0] > 0 && v[1] > 0)
        return MIN(cpus, MAX(1, v[0] * 1000 / v[1]));
    if (cgroup_numbers("cpu", "cpu.cfs_quota_us", v) >= 1 && v[0] > 0 &&
        cgroup_numbers("cpu", "cpu.cfs_period_us", period) >= 1 && period[0] > 0)
        return MIN(cpus, MAX(1, v[0] * 1000 / period[0]));
    return cpus;
}

static int64_t ram_bytes(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[LINE_BYTES];
    long long total_kb = 0, limit[2];

    while (f != NULL && total_kb == 0 && fgets(line, sizeof(line), f) != NULL)
        (void)sscanf(line, "MemTotal: %lld kB", &total_kb);
    if (f != NULL)
        fclose(f);
    int64_t bytes = total_kb * 1024;
    if (cgroup_numbers("", "memory.max", limit) >= 1 && limit[0] > 0)
        bytes = MIN(bytes, limit[0]);
    if (cgroup_numbers("memory", "memory.limit_in_bytes", limit) >= 1 && limit[0] > 0)
        bytes = MIN(bytes, limit[0]);
    return bytes;
}

int inventory_measure(const char *dir, uint32_t port_count, struct resources *ret, struct err *err)
{
    struct statvfs fs;

    if (statvfs(dir, &fs) < 0)
        return err_errno(err, errno, "cannot measure the disk at \"%s\"", dir);
    ret->v[RES_CPU] = cpu_quota_milli(cpus_milli());
    ret->v[RES_RAM] = ram_bytes();
    ret->v[RES_DISK] = (int64_t)((uint64_t)fs.f_bavail * fs.f_frsize);
    ret->v[RES_PORTS] = port_count;
    if (ret->v[RES_RAM] <= 0)
        return err_set(err, ERR_IO, "cannot read the machine's memory from /proc/meminfo");
    return 0;
}

static int amount_override(const char *name, const char *value, struct resources *capacity,
                           struct err *err)
{
    for (enum resource r = RES_CPU; r <= RES_DISK; r++) {
        if (strcmp(name, resource_name(r, NULL)) != 0)
            continue;
        int rc = r == RES_CPU ? quantity_parse_milli(value, &capacity->v[r], err)
                              : quantity_parse_bytes(value, &capacity->v[r], err);
        return rc == 0 ? 0 : err_wrap(err, "%s", name);
    }
    return err_set(err, ERR_INVALID, "\"%s\" is not one of cpu, ram, disk (ports: see --ports)",
                   name);
}

int inventory_override(const char *text, struct resources *capacity, struct err *err)
{
    struct resources changed = *capacity;
    char *copy = xstrdup(text);
    char *save = NULL;
    int rc = text[0] == '\0' ? err_set(err, ERR_INVALID, "no amount in \"\"") : 0;

    for (char *item = strtok_r(copy, ",", &save); item != NULL && rc == 0;
         item = strtok_r(NULL, ",", &save)) {
        char *equals = strchr(item, '=');
        if (equals == NULL) {
            rc =
                err_set(err, ERR_INVALID, "\"%s\" is not NAME=AMOUNT, like cpu=2 or ram=4Gi", item);
            break;
        }
        *equals = '\0';
        rc = amount_override(item, equals + 1, &changed, err);
    }
    free(copy);
    if (rc == 0)
        *capacity = changed;
    return rc;
}

int inventory_resource_add(const char *text, struct resources *capacity,
                           struct resource_names *names, struct err *err)
{
    struct resource_names next = *names;
    char name[RESOURCE_NAME_MAX + 1];
    const char *equals = strchr(text, '=');
    char *end = NULL;

    if (equals == NULL || (size_t)(equals - text) >= sizeof(name))
        return err_set(err, ERR_INVALID, "\"%.80s\" is not NAME=COUNT, like tape=4", text);
    snprintf(name, sizeof(name), "%.*s", (int)(equals - text), text);
    errno = 0;
    long long count = strtoll(equals + 1, &end, 10);
    if (end == equals + 1 || *end != '\0' || errno != 0 || count < 1 || count > RESOURCE_AMOUNT_MAX)
        return err_set(err, ERR_INVALID, "%s: \"%.80s\" is not a whole number from 1", name,
                       equals + 1);
    enum resource r = resource_names_put(&next, name);
    if (r == RES_COUNT)
        return err_set(err, ERR_LIMIT, "\"%s\" is one too many: a cell has at most %d", name,
                       RESOURCES_NAMED_MAX);
    if (r < RES_NAMED || resource_names_valid(&next, err) != 0)
        return r < RES_NAMED
                   ? err_set(err, ERR_INVALID,
                             "%s has a flag of its own: --capacity, --ports or --gpus", name)
                   : -(int)err->code;
    *names = next;
    capacity->v[r] = count;
    return 0;
}

/* Values of the system may contain characters that attributes must not have. */
static void measured_put(struct words *attributes, const char *key, const char *text, bool lower)
{
    char value[ATTRIBUTE_VALUE_MAX + 1];
    str_copy(value, sizeof(value), text);
    for (char *c = value; *c != '\0'; c++) {
        char one[] = {*c, '\0'};
        *c = attribute_value_valid(one) ? *c : '_';
        *c = lower ? (char)tolower(*c) : *c;
    }
    if (value[0] != '\0')
        attributes_put(attributes, key, value);
}

void inventory_attributes(struct words *attributes)
{
    struct utsname names;
    char cpus[32];

    snprintf(cpus, sizeof(cpus), "%" PRId64, cpus_milli() / 1000);
    measured_put(attributes, "cpus", cpus, false);
    if (uname(&names) < 0)
        return;
    measured_put(attributes, "os", names.sysname, true);
    measured_put(attributes, "arch", names.machine, false);
    measured_put(attributes, "kernel", names.release, false);
    measured_put(attributes, "hostname", names.nodename, false);
}

int inventory_attribute_add(const char *text, struct words *attributes, struct err *err)
{
    char key[CELL_NAME_MAX + 1];
    const char *value;
    int rc = attribute_parse(text, key, &value, err);

    if (rc != 0)
        return rc;
    if (attributes_get(attributes, key) == NULL && attributes->count >= MACHINE_ATTRIBUTES_MAX)
        return err_set(err, ERR_LIMIT, "\"%s\" is one too many: a machine has at most %d", text,
                       MACHINE_ATTRIBUTES_MAX);
    attributes_put(attributes, key, value);
    return 0;
}
