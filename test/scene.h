/*
 * scene.h - a small cell with a scheduler, and short helpers for tests.
 */
#ifndef TEST_SCENE_H
#define TEST_SCENE_H

#include "attributes.h"
#include "sched_fixture.h"

struct scene {
    struct world w;
    struct sched *sched;
};

static inline struct scene empty_scene(void)
{
    return (struct scene){world_new(), sched_new()};
}

static inline void scene_release(struct scene *s)
{
    sched_free(s->sched);
    world_release(&s->w);
}

/* Add a machine of some cpus with at most two attributes "key=value". */
static inline machine_id machine(struct scene *s, const char *name, int64_t cpus, const char *one,
                                 const char *two)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    const char *const words[] = {one, two};
    str_copy(body->name, sizeof body->name, name);
    str_copy(body->addr, sizeof body->addr, "a:1");
    body->capacity = amounts(cpus * 1000, 1000, 0, 0);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        char key[CELL_NAME_MAX + 1];
        const char *value;
        if (words[i] == NULL)
            continue;
        ck_assert_int_eq(attribute_parse(words[i], key, &value, NULL), 0);
        attributes_put(&body->attributes, key, value);
    }
    ck_assert_int_eq(world_apply(&s->w, &cmd), ERR_OK);
    world_tell(&s->w, s->sched);
    return cell_machine_named(s->w.cell, name)->id;
}

/* Add a clause, alternatives separated by "|"; weight 0 makes it hard. */
static inline void ask(struct job_spec *spec, const char *text, uint32_t weight)
{
    struct clause *clause = clauses_add(&spec->constraints, weight);
    CLEANUP(free_ptr) char *copy = xstrdup(text);
    char *rest = copy;
    for (char *one; (one = strsep(&rest, "|")) != NULL;) {
        struct term term;
        ck_assert_int_eq(term_parse(one, &term, NULL), 0);
        clause_add(clause, term);
    }
}

/* Return a job with tasks of one cpu, and with a hard constraint unless NULL. */
static inline struct job_spec spec_of(const char *name, uint32_t priority, uint32_t replicas,
                                      const char *constraint)
{
    struct job_spec spec = spec_named(name, "ada", priority);
    spec.replicas = replicas;
    if (constraint != NULL)
        ask(&spec, constraint, 0);
    return spec;
}

static inline void spread(struct job_spec *spec, const char *by, uint32_t max, uint32_t weight)
{
    struct spread *to = &spec->spreads[spec->spread_count++];
    *to = (struct spread){.max = max, .weight = weight};
    str_copy(to->by, sizeof to->by, by);
}

/* Submit the job and run passes until the scheduler has nothing to do. */
static inline job_id settle(struct scene *s, struct job_spec spec)
{
    job_id id = world_job(&s->w, spec);
    world_tell(&s->w, s->sched);
    world_settle(&s->w, s->sched);
    return id;
}

/* Return the machines of the tasks: "m1 m2 -". */
static inline const char *where(const struct scene *s, job_id id)
{
    static char text[512];
    const struct job *job = cell_job(s->w.cell, id);
    text[0] = '\0';
    for (uint32_t i = 0; i < job->spec.replicas; i++) {
        const struct machine *machine = cell_machine(s->w.cell, job->tasks[i].machine);
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i == 0 ? "" : " ",
                 machine == NULL ? "-" : machine->name);
    }
    return text;
}

static inline const char *reason(const struct scene *s, job_id id)
{
    return cell_job(s->w.cell, id)->reason;
}

static inline void end_task(struct scene *s, job_id id, uint32_t index)
{
    ck_assert(world_exited(&s->w, world_task(&s->w, id, index), 0));
    world_tell(&s->w, s->sched);
    world_settle(&s->w, s->sched);
}

#endif
