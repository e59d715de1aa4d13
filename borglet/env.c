/*
 * env.c - the environment a task starts with.
 */
#include "env.h"

#include <stdio.h>
#include <string.h>

/* getenv() finds the first of two equal names, so the second one is left out. */
static bool known(const struct words *words, const char *word)
{
    size_t length = strcspn(word, "=");

    for (const char *w = words_first(words); w != NULL; w = words_next(words, w))
        if (strncmp(w, word, length) == 0 && w[length] == '=')
            return true;
    return false;
}

static void add(struct words *to, const char *name, const char *value)
{
    CLEANUP(buf_release) struct buf word = {0};

    buf_printf(&word, "%s=%s", name, value);
    if (!known(to, buf_text(&word)))
        words_add(to, buf_text(&word));
}

static void add_number(struct words *to, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    add(to, name, text);
}

/* Print the numbers separated by commas; without gpus the value is empty. */
static void add_gpus(struct words *to, uint32_t devices)
{
    CLEANUP(buf_release) struct buf text = {0};

    for (uint32_t i = 0; i < DEVICES_MAX; i++)
        if ((devices >> i & 1) != 0)
            buf_printf(&text, "%s%" PRIu32, text.size > 0 ? "," : "", i);
    add(to, "BORG_GPUS", buf_text(&text));
    add(to, "CUDA_VISIBLE_DEVICES", buf_text(&text));
}

void env_build(struct words *to, const struct job_spec *spec, const struct env_facts *facts)
{
    char text[SPEC_PORT_VARIABLE_BYTES + 32];
    size_t i = 0;

    ASSERT(to->count == 0);
    add(to, "BORG_CELL", facts->cell);
    add(to, "BORG_JOB", spec->name);
    snprintf(text, sizeof(text), "%s/%" PRIu32, spec->name, task_index(facts->task.task));
    add(to, "BORG_TASK", text);
    add_number(to, "BORG_ATTEMPT", facts->task.attempt);
    add(to, "BORG_MACHINE", facts->machine);
    add(to, "BORG_DIR", facts->work_dir);
    add_number(to, "BORG_SHAPE", facts->shape + 1);
    add_number(to, "BORG_CPU_MILLI", (uint64_t)spec->limit.v[RES_CPU]);
    add_number(to, "BORG_RAM_BYTES", (uint64_t)spec->limit.v[RES_RAM]);
    for (const char *p = words_first(&spec->ports); p != NULL; p = words_next(&spec->ports, p)) {
        if (i == 0)
            add_number(to, "PORT", facts->ports[0]);
        spec_port_variable(p, text);
        add_number(to, text, facts->ports[i++]);
    }
    if (facts->gpus)
        add_gpus(to, facts->devices);
    for (const char *w = words_first(&spec->env); w != NULL; w = words_next(&spec->env, w))
        if (strchr(w, '=') != NULL && !known(to, w))
            words_add(to, w);
    add(to, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    add(to, "HOME", facts->work_dir);
    add(to, "LANG", "C.UTF-8");
}
