/*
 * jobfile_json.c - a job spec as one would write it, every field with its value.
 */
#include "jobfile.h"
#include "quantity.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static json_t *words_json(const struct words *words)
{
    json_t *array = json_array();
    for (const char *w = words_first(words); w != NULL; w = words_next(words, w))
        json_array_append_new(array, json_string(w));
    return array;
}

static json_t *env_json(const struct words *env)
{
    json_t *object = json_object();
    for (const char *w = words_first(env); w != NULL; w = words_next(env, w)) {
        char *name = xstrdup(w);
        char *equals = strchr(name, '=');
        if (equals != NULL) {
            *equals = '\0';
            json_object_set_new(object, name, json_string(equals + 1));
        }
        free(name);
    }
    return object;
}

static json_t *amount_json(void (*amount_print)(struct buf *, int64_t), int64_t amount)
{
    CLEANUP(buf_release) struct buf text = {0};
    amount_print(&text, amount);
    return json_string(buf_text(&text));
}

/* The term itself when it is the only one, else an array. */
static json_t *terms_json(const struct clause *clause)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < clause->term_count; i++) {
        CLEANUP(buf_release) struct buf text = {0};
        term_print(&text, &clause->terms[i]);
        json_array_append_new(array, json_string(buf_text(&text)));
    }
    if (clause->term_count != 1)
        return array;
    json_t *only = json_incref(json_array_get(array, 0));
    json_decref(array);
    return only;
}

static json_t *constraints_json(const struct clauses *clauses)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < clauses->count; i++) {
        const struct clause *clause = &clauses->items[i];
        json_t *terms = terms_json(clause), *item = terms;
        if (clause->weight != 0)
            item = json_pack("{s:o, s:I}", "prefer", terms, "weight", (json_int_t)clause->weight);
        else if (clause->term_count != 1)
            item = json_pack("{s:o}", "any", terms);
        json_array_append_new(array, item);
    }
    return array;
}

static json_t *spread_json(const struct job_spec *s)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < s->spread_count; i++) {
        json_t *item = json_pack("{s:s}", "by", s->spreads[i].by);
        if (s->spreads[i].max != 0)
            json_object_set_new(item, "max", json_integer(s->spreads[i].max));
        if (s->spreads[i].weight != 0)
            json_object_set_new(item, "weight", json_integer(s->spreads[i].weight));
        json_array_append_new(array, item);
    }
    return array;
}

static json_t *limit_json(const struct job_spec *s, const struct resources *limit)
{
    json_t *json = json_pack("{s:o, s:o, s:o, s:o}", "cpu",
                             amount_json(quantity_print_milli, limit->v[RES_CPU]), "ram",
                             amount_json(quantity_print_bytes, limit->v[RES_RAM]), "disk",
                             amount_json(quantity_print_bytes, limit->v[RES_DISK]), "gpu",
                             amount_json(quantity_print_milli, limit->v[RES_GPU]));
    for (enum resource r = RES_NAMED; r < RES_COUNT; r++)
        if (limit->v[r] > 0)
            json_object_set_new(json, resource_name(r, &s->resource_names),
                                json_integer(limit->v[r]));
    return json;
}

/* The limit itself when there are no others, else an array. */
static json_t *shapes_json(const struct job_spec *s)
{
    if (s->alternative_count == 0)
        return limit_json(s, &s->limit);
    json_t *array = json_array();
    for (uint32_t i = 0; i < spec_shape_count(s); i++)
        json_array_append_new(array, limit_json(s, spec_shape(s, i)));
    return array;
}

static json_t *alloc_json(const struct job_spec *s)
{
    json_t *resources = limit_json(s, &s->limit);
    json_object_set_new(resources, "ports", json_integer(s->limit.v[RES_PORTS]));
    return json_pack("{s:o, s:o, s:o}", "resources", resources, "constraints",
                     constraints_json(&s->constraints), "spread", spread_json(s));
}

static json_t *task_json(const struct job_spec *s)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:o, s:o, s:o}", "command",
                     words_json(&s->argv), "env", env_json(&s->env), "resources", shapes_json(s),
                     "ports", words_json(&s->ports), "constraints",
                     constraints_json(&s->constraints), "spread", spread_json(s), "restart",
                     restart_text(s->restart), "max_failures", (json_int_t)s->failures_max,
                     "backoff", amount_json(quantity_print_ms, s->backoff_ms), "max_backoff",
                     amount_json(quantity_print_ms, s->backoff_max_ms), "grace",
                     amount_json(quantity_print_ms, s->grace_ms));
}

json_t *jobfile_json(const struct job_spec *s)
{
    json_t *replicas =
        s->every_machine ? json_string("every-machine") : json_integer((json_int_t)s->replicas);
    json_t *job = json_pack("{s:s, s:I, s:s, s:s, s:o, s:I, s:b}", "name", s->name, "priority",
                            (json_int_t)s->priority, "appclass", appclass_text(s->appclass),
                            "policy", policy_text(s->policy), "replicas", replicas,
                            "max_disruptions", (json_int_t)s->disruptions_max, "gang", s->gang);
    ASSERT(job != NULL);
    if (s->alloc_set[0] != '\0')
        json_object_set_new(job, "alloc_set", json_string(s->alloc_set));
    if (s->is_alloc_set)
        json_object_set_new(job, "alloc", alloc_json(s));
    else
        json_object_set_new(job, "task", task_json(s));
    return job;
}
