/*
 * replicas.c - bring cell.json up to date with the replicas of the cell.
 */
#include "replicas.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS_MAX = 3 };

static size_t place_of(const struct cell_file *cell, uint64_t id)
{
    size_t at = 0;
    while (at < cell->replica_count && cell->replicas[at].id != id)
        at++;
    return at;
}

static void remove_at(struct cell_file *cell, size_t at)
{
    memmove(&cell->replicas[at], &cell->replicas[at + 1],
            (cell->replica_count - at - 1) * sizeof cell->replicas[0]);
    cell->replica_count--;
}

static void add(struct cell_file *cell, const struct master *row)
{
    struct cell_replica *replica = &cell->replicas[cell->replica_count++];
    *replica = (struct cell_replica){.id = row->id};
    str_copy(replica->rpc, sizeof replica->rpc, row->rpc);
    str_copy(replica->raft, sizeof replica->raft, row->raft);
}

bool replicas_follow(struct cell_file *cell, const struct masters *reported, bool by_leader)
{
    bool changed = false;
    for (uint32_t i = 0; by_leader && i < reported->count; i++) {
        if (place_of(cell, reported->rows[i].id) < cell->replica_count ||
            cell->replica_count == CELL_REPLICAS_MAX) /* if full, the next round has room for it */
            continue;
        add(cell, &reported->rows[i]);
        changed = true;
    }
    for (size_t i = cell->replica_count; i > 0 && cell->replica_count > 1; i--) {
        uint64_t id = cell->replicas[i - 1].id;
        if (id >= reported->next_id || masters_find(reported, id) != NULL)
            continue;
        remove_at(cell, i - 1);
        changed = true;
    }
    return changed;
}

static bool follow_all(struct cell_file *cell, const struct client_status *all)
{
    const size_t count = cell->replica_count;
    const struct client_status *leader = client_leader(all, count);
    bool changed = false;
    for (size_t i = 0; i < count; i++)
        if (all[i].reachable && &all[i] != leader)
            changed |= replicas_follow(cell, &all[i].status.masters, false);
    if (leader != NULL)
        changed |= replicas_follow(cell, &leader->status.masters, true);
    return changed;
}

/* Ask in two rounds: replicas that the first round adds may know of more. */
bool replicas_ask(struct client *client, struct client_status ret[CELL_REPLICAS_MAX])
{
    bool changed = false;
    client_statuses(client, ret);
    for (int round = 0; round < ROUNDS_MAX && follow_all(&client->cell, ret); round++) {
        changed = true;
        client_forget(client);
        client_statuses(client, ret);
    }
    return changed;
}

static void read_ended(const char *cell_path, uint64_t id, char to[ERR_MSG_MAX])
{
    char path[CELL_PATH_MAX + 64];
    const char *slash = strrchr(cell_path, '/');
    int n = slash != NULL ? (int)(slash - cell_path) : 1;
    snprintf(path, sizeof path, "%.*s/master%" PRIu64 "/ended", n, slash != NULL ? cell_path : ".",
             id);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = fd >= 0 ? read(fd, to, ERR_MSG_MAX - 1) : 0;
    if (fd >= 0)
        close(fd);
    for (size = MAX(size, 0); size > 0 && (to[size - 1] == ' ' || to[size - 1] == '\n');)
        size--;
    to[size] = '\0';
}

void replicas_read_ended(const struct client *client, struct client_status all[CELL_REPLICAS_MAX])
{
    for (size_t i = 0; i < client->cell.replica_count; i++)
        if (!all[i].reachable)
            read_ended(client->cell_path, client->cell.replicas[i].id, all[i].ended);
}

static int forget(struct embed *embed, size_t at, struct err *err)
{
    char name[32];
    snprintf(name, sizeof name, "master%" PRIu64, embed->cell.replicas[at].id);
    embed_stop_one(embed, at);
    remove_at(&embed->cell, at);
    embed->replica_count = (uint32_t)embed->cell.replica_count;
    if (embed_save_cell(embed, err) != 0)
        return -(int)err->code;
    return embed_remove(embed, name, err);
}

int replicas_settle(struct embed *embed, const struct cell_file *now, struct err *err)
{
    struct cell_file *cell = &embed->cell;
    int r = 0;
    for (size_t i = cell->replica_count; i > 0 && r == 0; i--)
        if (place_of(now, cell->replicas[i - 1].id) == now->replica_count)
            r = forget(embed, i - 1, err);
    for (size_t i = 0; i < now->replica_count && r == 0; i++) {
        if (place_of(cell, now->replicas[i].id) < cell->replica_count)
            continue;
        ASSERT(cell->replica_count < CELL_REPLICAS_MAX);
        cell->replicas[cell->replica_count++] = now->replicas[i];
        embed->replica_count = (uint32_t)cell->replica_count;
        r = embed_make_master(embed, now->replicas[i].id, err);
    }
    return r == 0 ? embed_save_cell(embed, err) : r;
}
