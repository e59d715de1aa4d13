/*
 * links_tell.c - tells all borglets who the masters are, and which identities have rights or are
 * revoked.
 */
#include "links_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINKS_TELL_BYTES = 4194304 }; /* of identities sent in one turn: there may be many links */

static void link_send_masters(struct link *link)
{
    struct links *links = link->links;
    const struct masters *masters = core_masters(links->core);
    struct wire_address addresses[MASTER_ROWS_MAX];
    struct wire_replicas replicas = {.addresses = addresses};
    for (uint32_t i = 0; i < masters->count; i++) {
        struct wire_address *address = &addresses[replicas.address_count];
        if (masters->rows[i].state != MASTER_VOTES)
            continue;
        address->id = masters->rows[i].id;
        str_copy(address->text, sizeof address->text, masters->rows[i].rpc);
        replicas.address_count++;
    }
    buf_clear(&links->body);
    wire_pack_replicas(&links->body, &replicas);
    (void)!rpc_notify(link->conn, WIRE_REPLICAS, links->body.bytes, links->body.size);
}

void links_tell_replicas(struct links *links)
{
    LIST_EACH(l, &links->all)
    {
        struct link *link = CONTAINER_OF(l, struct link, all);
        if (links_is_welcome(link))
            link_send_masters(link);
    }
}

/* Ids of masters are never given again: one below the next id that is not in the table was removed.
 */
static bool master_is_removed(const struct masters *masters, uint64_t id)
{
    return id != 0 && id < masters->next_id && masters_find(masters, id) == NULL;
}

/* Add the masters that were removed last, as revoked identities: a machine that starts anew learns
 * its masters from cell.json, which may still name them. */
static void removed_put(const struct masters *masters, struct wire_identities *all)
{
    uint64_t oldest = masters->next_id - MIN(masters->next_id, (uint64_t)LINKS_REMOVED_MAX);
    for (uint64_t id = oldest; id < masters->next_id; id++) {
        struct wire_identity *to = &all->identities[all->identity_count];
        if (!master_is_removed(masters, id) || all->identity_count == CELL_IDENTITIES_MAX)
            continue;
        to->revoked_ms = UINT64_MAX; /* whenever the certificate was issued */
        snprintf(to->identity, sizeof to->identity, "master/%" PRIu64, id);
        all->identity_count++;
    }
}

/* Returns whether removed_put() has added the identity. */
static bool is_put(const struct wire_identities *all, const char *identity)
{
    for (uint32_t i = 0; i < MIN(all->identity_count, (uint32_t)LINKS_REMOVED_MAX); i++)
        if (strcmp(all->identities[i].identity, identity) == 0)
            return true;
    return false;
}

/* Pack what a machine needs: the identities that may read all logs, and the revoked ones. */
void links_pack_identities(struct links *links)
{
    size_t count;
    CLEANUP(free_ptr)
    struct identity_row *rows = cell_identities(core_cell(links->core), &count);
    struct wire_identities all = {
        .index = core_cell(links->core)->applied_index,
        .identities = xcalloc(count + LINKS_REMOVED_MAX + 1, sizeof *all.identities)};
    removed_put(core_masters(links->core), &all);
    for (size_t i = 0; i < count; i++) {
        struct wire_identity *to = &all.identities[all.identity_count];
        to->rights = rows[i].rights & (BIT(RIGHT_OPERATOR) | BIT(RIGHT_READER));
        to->revoked_ms = rows[i].revoked_ms;
        if ((to->rights == 0 && to->revoked_ms == 0) || is_put(&all, rows[i].identity) ||
            all.identity_count == CELL_IDENTITIES_MAX) {
            *to = (struct wire_identity){0};
            continue;
        }
        str_copy(to->identity, sizeof to->identity, rows[i].identity);
        all.identity_count++;
    }
    buf_clear(&links->identities);
    wire_pack_identities(&links->identities, &all);
    wire_identities_release(&all);
    links->identities_version++;
}

static void link_send_identities(struct link *link)
{
    const struct buf *body = &link->links->identities;
    if (link->identities_sent == link->links->identities_version)
        return;
    link->identities_sent = link->links->identities_version;
    (void)!rpc_notify(link->conn, WIRE_IDENTITIES, body->bytes, body->size);
}

void links_send_identities(struct links *links)
{
    size_t bytes = 0;
    links->identities_unsent = false;
    LIST_EACH(l, &links->all)
    {
        struct link *link = CONTAINER_OF(l, struct link, all);
        if (!links_is_welcome(link) || link->identities_sent == links->identities_version)
            continue;
        if (bytes > LINKS_TELL_BYTES) {
            links->identities_unsent = true;
            return;
        }
        link_send_identities(link);
        bytes += links->identities.size;
    }
}

void links_tell_identities(struct links *links)
{
    links_pack_identities(links);
    links_send_identities(links);
}

void links_tell_new(struct link *link)
{
    link_send_masters(link);
    link_send_identities(link);
}
