/*
 * spec_walk.c - the table of fields as a tree of objects.
 */
#include "spec_json_impl.h"

#include <stdio.h>
#include <string.h>

/* The part of a field's path below `group`, NULL when it is not below. */
static const char *field_below(const struct field *field, const char *group)
{
    static const char alloc[] = "alloc", task[] = "task";
    const char *name = field->name;
    size_t length = strlen(group);
    if (length == 0)
        return name;
    bool is_alloc = strncmp(group, alloc, strlen(alloc)) == 0 &&
                    (group[strlen(alloc)] == '.' || group[strlen(alloc)] == '\0');
    if (is_alloc && (field->flags & FIELD_IN_ALLOC) != 0) {
        name += strlen(task);
        group += strlen(alloc);
        length -= strlen(alloc);
    }
    return strncmp(name, group, length) == 0 && name[length] == '.' ? name + length + 1 : NULL;
}

static bool is_first_of_group(const struct record *record, const char *group, uint32_t index,
                              const char *name, size_t length)
{
    for (uint32_t i = 0; i < index; i++) {
        const char *below = field_below(&record->fields[i], group);
        bool written = (record->fields[i].flags & FIELD_NO_SPEC) == 0;
        if (written && below != NULL && strncmp(below, name, length) == 0 && below[length] == '.')
            return false;
    }
    return true;
}

/* Is the field a member of the group in this phase? Then it is put into the child. */
static bool child_set(const struct record *record, const char *group, uint32_t index,
                      struct spec_child *child)
{
    const struct field *field = &record->fields[index];
    const char *below = field_below(field, group);
    const char *dot = below == NULL ? NULL : strchr(below, '.');
    if (below == NULL || (field->flags & FIELD_NO_SPEC) != 0 || (dot != NULL) != (child->phase > 0))
        return false;
    size_t length = dot == NULL ? strlen(below) : (size_t)(dot - below);
    if (dot != NULL && !is_first_of_group(record, group, index, below, length))
        return false;
    ASSERT(length < sizeof child->name);
    child->leaf = dot == NULL ? field : NULL;
    str_copy(child->name, length + 1, below);
    snprintf(child->group, sizeof child->group, "%s%s%s", group, group[0] != '\0' ? "." : "",
             child->name);
    return true;
}

static bool has_alloc(const struct record *record)
{
    for (uint32_t i = 0; i < record->count; i++)
        if ((record->fields[i].flags & FIELD_IN_ALLOC) != 0)
            return true;
    return false;
}

bool spec_child_next(const struct record *record, const char *group, struct spec_child *child)
{
    for (; child->phase < 2; child->phase++, child->next = 0)
        while (child->next < record->count)
            if (child_set(record, group, child->next++, child))
                return true;
    if (child->phase++ > 2 || group[0] != '\0' || !has_alloc(record))
        return false;
    child->leaf = NULL;
    str_copy(child->name, sizeof child->name, "alloc");
    str_copy(child->group, sizeof child->group, "alloc");
    return true;
}

bool spec_group_required(const struct record *record, const char *group)
{
    struct spec_child child = {0};
    while (spec_child_next(record, group, &child))
        if (child.leaf != NULL ? child.leaf->otherwise == NULL
                               : spec_group_required(record, child.group))
            return true;
    return false;
}

struct lines {
    void (*each)(void *data, const struct spec_line *line);
    void *data;
};

static void limit_lines(const struct lines *l, const char *path, bool is_alloc)
{
    const struct record *amounts = limit_record_of(is_alloc);
    char at[128], as[128];
    for (uint32_t i = 0; i <= amounts->count; i++) {
        const struct field *amount = i < amounts->count ? &amounts->fields[i] : NULL;
        snprintf(at, sizeof at, "%s.%s", path, amount == NULL ? "NAME" : amount->name);
        snprintf(as, sizeof as, "as task%s", strchr(at, '.'));
        bool shared = i < limit_record.count || amount == NULL;
        struct spec_line line = {
            .path = at,
            .doc = is_alloc && shared ? as
                   : amount == NULL   ? "how many of what the cell's machines offer by that name "
                                        "(borglet --resource)"
                                      : amount->doc,
            .otherwise = amount == NULL ? "" : amount->otherwise,
            .effect = amount == NULL ? EFFECT_FIXED : amount->effect,
        };
        l->each(l->data, &line);
    }
}

static void group_lines(const struct lines *l, const char *group)
{
    struct spec_child child = {0};
    bool is_alloc = strncmp(group, "alloc", strlen("alloc")) == 0;
    while (spec_child_next(&job_spec_record, group, &child)) {
        char as[128];
        snprintf(as, sizeof as, "as %s", child.leaf == NULL ? "" : child.leaf->name);
        struct spec_line line = {
            .path = child.group,
            .doc = child.leaf == NULL ? spec_group_doc(child.group)
                   : is_alloc         ? as
                                      : child.leaf->doc,
            .otherwise = child.leaf == NULL ? "" : child.leaf->otherwise,
            .is_group = child.leaf == NULL,
            .effect = child.leaf == NULL ? EFFECT_FIXED : child.leaf->effect,
        };
        l->each(l->data, &line);
        if (child.leaf == NULL)
            group_lines(l, child.group);
        else if (child.leaf->form == FORM_RESOURCES)
            limit_lines(l, child.group, is_alloc);
    }
}

void spec_lines(void (*each)(void *data, const struct spec_line *line), void *data)
{
    struct lines l = {each, data};
    group_lines(&l, "");
}

struct elsewhere {
    const char *name;
    char *to;
};

static void line_elsewhere(void *data, const struct spec_line *line)
{
    struct elsewhere *e = data;
    const char *dot = strrchr(line->path, '.');
    if (e->to[0] == '\0' && strcmp(dot == NULL ? line->path : dot + 1, e->name) == 0)
        str_copy(e->to, SPEC_PATH_MAX, line->path);
}

const char *spec_elsewhere(const char *name, char to[SPEC_PATH_MAX])
{
    struct elsewhere e = {name, to};
    to[0] = '\0';
    spec_lines(line_elsewhere, &e);
    return to[0] == '\0' ? NULL : to;
}
