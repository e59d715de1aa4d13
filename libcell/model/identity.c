/*
 * identity.c - what the cell knows of who has a certificate: rights given, certificates revoked.
 *
 * A certificate says who somebody is, and is good for a long time; what he may do, and whether the
 * certificate still counts, is state of the cell and changes by a command. An identity that was
 * given nothing and not revoked has no row.
 */
#include "cell_write.h"

#include "hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USER_PREFIX "user/"
#define OPERATOR_IDENTITY USER_PREFIX CELL_OPERATOR

const char *right_text(enum right right)
{
    switch (right) {
#define X(name, text) \
    case RIGHT_##name: \
        return text;
        RIGHTS(X)
#undef X
    case RIGHT_COUNT:
        break;
    }
    return "unknown";
}

void rights_print(struct buf *to, uint32_t rights)
{
    size_t before = to->size;
    for (enum right r = 0; r < RIGHT_COUNT; r++)
        if ((rights & BIT(r)) != 0)
            buf_printf(to, "%s%s", to->size > before ? " " : "", right_text(r));
}

static bool is_user(const char *identity)
{
    return strncmp(identity, USER_PREFIX, strlen(USER_PREFIX)) == 0;
}

int identity_valid(const char *identity, struct err *err)
{
    static const char *const prefixes[] = {USER_PREFIX, "borglet/", "master/"};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (strncmp(identity, prefixes[i], strlen(prefixes[i])) == 0 &&
            name_valid(identity + strlen(prefixes[i])))
            return 0;
    return err_set(err, ERR_INVALID,
                   "\"%s\" is no identity: user/NAME, borglet/MACHINE or master/NUMBER", identity);
}

/* What no row may say. */
static int row_valid(const struct identity_row *row, struct err *err)
{
    int rv = identity_valid(row->identity, err);
    if (rv != 0)
        return rv;
    if (row->rights >= BIT(RIGHT_COUNT))
        return err_set(err, ERR_INVALID, "the rights %u of \"%s\" are none", row->rights,
                       row->identity);
    if (row->rights != 0 && !is_user(row->identity))
        return err_set(err, ERR_INVALID, "\"%s\" is no user: only users have rights",
                       row->identity);
    if (strcmp(row->identity, OPERATOR_IDENTITY) == 0)
        return err_set(err, ERR_DENIED,
                       "user \"" CELL_OPERATOR "\" always is the cell's operator: its rights stay "
                       "as they are, and it cannot be revoked");
    return 0;
}

const struct identity_row *cell_identity(const struct cell *cell, const char *identity)
{
    return namemap_get(&cell->identities_by_name, identity);
}

bool cell_user_is(const struct cell *cell, const char *user, enum right right)
{
    char identity[IDENTITY_MAX + 1];
    ASSERT(right < RIGHT_COUNT);
    if (strcmp(user, CELL_OPERATOR) == 0)
        return true;
    snprintf(identity, sizeof identity, USER_PREFIX "%s", user);
    const struct identity_row *row = cell_identity(cell, identity);
    return row != NULL && (row->rights & (BIT(right) | BIT(RIGHT_OPERATOR))) != 0;
}

bool cell_identity_revoked(const struct cell *cell, const char *identity, uint64_t issued_ms)
{
    const struct identity_row *row = cell_identity(cell, identity);
    return row != NULL && row->revoked_ms != 0 && issued_ms <= row->revoked_ms;
}

struct identity_row *cell_identities(const struct cell *cell, size_t *ret_count)
{
    struct identity_row *rows = xcalloc(MAX(cell->identity_count, 1U), sizeof *rows);
    size_t count = 0;
    LIST_EACH(l, &cell->identities)
    {
        rows[count] = *CONTAINER_OF(l, struct identity_row, link);
        list_init(&rows[count++].link); /* of the copy: in no list */
    }
    ASSERT(count == cell->identity_count);
    *ret_count = count;
    return rows;
}

/* Replaces; the place in the list, by name, is sought from the end, for loading goes by name. */
static void identity_put(struct cell *cell, const struct identity_row *next)
{
    struct identity_row *row = namemap_get(&cell->identities_by_name, next->identity);
    if (row == NULL) {
        row = xcalloc(1, sizeof *row);
        str_copy(row->identity, sizeof row->identity, next->identity);
        struct list *after = cell->identities.prev;
        while (after != &cell->identities &&
               strcmp(CONTAINER_OF(after, struct identity_row, link)->identity, row->identity) > 0)
            after = after->prev;
        list_push(after->next, &row->link);
        namemap_put(&cell->identities_by_name, row->identity, row);
        cell->identity_count++;
    } else {
        cell->digest_sum -= identity_row_hash(row);
    }
    struct list link = row->link;
    *row = *next;
    row->link = link;
    cell->digest_sum += identity_row_hash(row);
}

static void identity_remove(struct cell *cell, const char *identity)
{
    struct identity_row *row = namemap_remove(&cell->identities_by_name, identity);
    if (row == NULL)
        return;
    cell->digest_sum -= identity_row_hash(row);
    cell->identity_count--;
    list_remove(&row->link);
    free(row);
}

uint64_t cell_check_identities(const struct cell *cell)
{
    uint64_t digest = 0;
    uint32_t count = 0;
    const char *last = "";
    LIST_EACH(l, &cell->identities)
    {
        const struct identity_row *row = CONTAINER_OF(l, struct identity_row, link);
        ASSERT(strcmp(last, row->identity) < 0);
        ASSERT(row_valid(row, NULL) == 0);
        ASSERT(row->rights != 0 || row->revoked_ms != 0);
        ASSERT(cell_identity(cell, row->identity) == row);
        last = row->identity;
        digest += identity_row_hash(row);
        count++;
    }
    ASSERT(count == cell->identity_count);
    ASSERT(count == cell->identities_by_name.count);
    ASSERT(count <= CELL_IDENTITIES_MAX);
    return digest;
}

int cell_load_identity(struct cell *cell, const struct identity_row *row, struct err *err)
{
    struct err why;
    if (row_valid(row, &why) != 0)
        return err_set(err, ERR_CORRUPT, "an identity is bad: %s", why.msg);
    if (row->rights == 0 && row->revoked_ms == 0)
        return err_set(err, ERR_CORRUPT, "identity \"%s\" has nothing to be kept for",
                       row->identity);
    if (row->revoked_ms > MAX(cell->now_ms, UINT64_C(1)) || row->changed_ms > cell->now_ms)
        return err_set(err, ERR_CORRUPT, "identity \"%s\" changed in the future", row->identity);
    if (cell_identity(cell, row->identity) != NULL)
        return err_set(err, ERR_CORRUPT, "identity \"%s\" is there twice", row->identity);
    identity_put(cell, row);
    return 0;
}

/* "user/ada operator reader, revoked" */
static void standing_print(struct buf *to, const struct identity_row *row)
{
    buf_printf(to, "%s ", row->identity);
    if (row->rights == 0)
        buf_printf(to, "without rights");
    rights_print(to, row->rights);
    if (row->revoked_ms != 0)
        buf_printf(to, ", certificates issued until now revoked");
}

void apply_identity_set(struct apply *a, const struct cmd_identity_set *body)
{
    struct cell *cell = a->cell;
    struct err err;
    if (!operator_check(a, "give rights or revoke certificates"))
        return;
    const struct identity_row *was = cell_identity(cell, body->identity);
    struct identity_row next = {.rights = was != NULL ? was->rights : 0,
                                .revoked_ms = was != NULL ? was->revoked_ms : 0,
                                .changed_ms = cell->now_ms};
    str_copy(next.identity, sizeof next.identity, body->identity);
    str_copy(next.changed_by, sizeof next.changed_by, a->cmd->user);
    next.rights = (next.rights | body->add) & ~body->remove;
    if (body->revoke == REVOKE_YES)
        next.revoked_ms = MAX(cell->now_ms, UINT64_C(1));
    else if (body->revoke == REVOKE_RESTORE)
        next.revoked_ms = 0;
    /* A right that is none is refused also where it is to be taken away. */
    struct identity_row asked = next;
    asked.rights |= body->add | body->remove;
    if (body->revoke >= REVOKE_COUNT || row_valid(&asked, &err) != 0) {
        if (body->revoke >= REVOKE_COUNT)
            err_set(&err, ERR_INVALID, "%d is no way to revoke", (int)body->revoke);
        answer_refuse(a, err.code, "%s", err.msg);
        return;
    }
    bool is_kept = next.rights != 0 || next.revoked_ms != 0;
    if (is_kept && was == NULL && cell->identity_count >= CELL_IDENTITIES_MAX) {
        answer_refuse(a, ERR_LIMIT,
                      "the cell keeps rights or revocations of %d identities, no more are allowed: "
                      "take some away, or restore some (borgctl identities)",
                      CELL_IDENTITIES_MAX);
        return;
    }
    if (is_kept)
        identity_put(cell, &next);
    else
        identity_remove(cell, next.identity);
    a->changes->identities = true;
    CLEANUP(buf_release) struct buf says = {0};
    standing_print(&says, &next);
    struct event *event = event_add(a, EVENT_IDENTITY);
    snprintf(event->detail, sizeof event->detail, "%s, by %s", buf_text(&says),
             a->cmd->user[0] != '\0' ? a->cmd->user : "the cell");
    answer_say(a, "%s", buf_text(&says));
}
