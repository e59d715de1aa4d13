/*
 * cmd_replica.c - commands on the replicas of a cell: transfer, add, remove, replace, restart.
 *
 * The cell carries out a change step by step, also if borgctl is interrupted. These commands send
 * it, update cell.json and, in the embedded cell, start or stop the process.
 */
#include "clock.h"
#include "embed.h"
#include "listing.h"
#include "replicas.h"
#include "text.h"
#include "tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_MS = 200, CHANGE_MS = 60000, RESTART_MS = 60000, BEHIND_MAX = 256 };

static int replica_parse(const char *text, uint64_t *ret, struct err *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n == 0 || n > INT32_MAX)
        return err_set(err, ERR_INVALID,
                       "\"%.60s\" is not the number of a replica; `borgctl cell status` lists them",
                       text);
    *ret = n;
    return 0;
}

static int transfer_run(struct cli *cli, uint64_t replica, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct client_status all[CELL_REPLICAS_MAX];
    struct wire_answer answer;
    if (client_open(cli, &client, err) < 0 || client_transfer(client, replica, &answer, err) < 0)
        return -(int)err->code;
    if (cli->output == OUTPUT_TABLE) {
        print("%s\n", answer.msg);
        return 0;
    }
    client_statuses(client, all);
    const struct client_status *leader = client_leader(all, client->cell.replica_count);
    render_json_print(stdout, json_pack("{s:o}", "leader",
                                        leader != NULL ? json_integer((json_int_t)leader->status.id)
                                                       : json_null()));
    return 0;
}

int cmd_cell_transfer(struct cli *cli)
{
    uint64_t replica = 0;
    struct err err;
    if (cli->arg_count > 0 && replica_parse(cli->args[0], &replica, &err) < 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    return transfer_run(cli, replica, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

/* A change in progress. */
struct change {
    struct cli *cli;
    struct client *client;
    struct embed *embed; /* NULL: not an embedded cell */
    struct cell_replica added;
    uint64_t removed; /* 0: none */
    bool was_gone;    /* the cell had removed it before, unknown to cell.json */
    uint64_t deadline_ms;
    char reported[192]; /* the last printed reason for waiting */
};

static void change_close(struct change *c)
{
    client_close(c->client);
    if (c->embed != NULL)
        embed_close(c->embed);
    free(c->embed);
}

/* Parse HOST:PORT, with the raft address after a comma or at the next higher port. */
static int addresses_parse(const char *text, struct cell_replica *ret, struct err *err)
{
    const char *comma = strchr(text, ',');
    size_t size = comma != NULL ? (size_t)(comma - text) : strlen(text);
    const char *colon = memrchr(text, ':', size);
    char *end = NULL;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : 0;
    if (port < 1 || port > 65535 || colon == text || end != text + size || size > CELL_ADDR_MAX ||
        (comma == NULL && port == 65535) || (comma != NULL && strlen(comma + 1) > CELL_ADDR_MAX))
        return err_set(err, ERR_INVALID,
                       "--addr: \"%.130s\" is neither HOST:PORT nor HOST:PORT,HOST:PORT", text);
    snprintf(ret->rpc, sizeof ret->rpc, "%.*s", (int)size, text);
    if (comma != NULL)
        str_copy(ret->raft, sizeof ret->raft, comma + 1);
    else
        snprintf(ret->raft, sizeof ret->raft, "%.*s:%ld", (int)(colon - text), text, port + 1);
    return 0;
}

static size_t place_of(const struct cell_file *cell, uint64_t id)
{
    size_t at = 0;
    while (at < cell->replica_count && cell->replicas[at].id != id)
        at++;
    return at;
}

/* Write our list of replicas to cell.json. */
static int save_cell(struct change *c, struct err *err)
{
    return c->embed != NULL ? replicas_settle(c->embed, &c->client->cell, err)
                            : cell_file_save(c->client->cell_path, &c->client->cell, err);
}

/* Follow changes of the replicas that cell.json does not contain yet. */
static int change_catch_up(struct change *c, struct err *err)
{
    struct client_status all[CELL_REPLICAS_MAX];
    struct cell_file before = c->client->cell;
    if (!replicas_ask(c->client, all))
        return 0;
    c->was_gone = place_of(&before, c->removed) < before.replica_count &&
                  place_of(&c->client->cell, c->removed) == c->client->cell.replica_count;
    return save_cell(c, err);
}

/* Open the embedded cell if cell.json belongs to one. `removed` is the replica to remove, or 0. */
static int change_open(struct change *c, struct cli *cli, uint64_t removed, struct err *err)
{
    char dir[CELL_PATH_MAX + 1], marker[CELL_PATH_MAX + 32];
    *c = (struct change){.cli = cli, .removed = removed};
    c->deadline_ms = clock_mono_ms() + (cli_flag(cli, OPT_TIMEOUT) ? cli->timeout_ms : CHANGE_MS);
    client_cell_path(cli, dir);
    char *slash = strrchr(dir, '/');
    str_copy(slash != NULL ? slash : dir, slash != NULL ? 1 : sizeof dir, slash != NULL ? "" : ".");
    snprintf(marker, sizeof marker, "%s/embedded.json", dir);
    if (access(marker, F_OK) == 0) {
        c->embed = xcalloc(1, sizeof *c->embed);
        if (embed_open(dir, false, cli->timeout_ms, c->embed, err) < 0) {
            free(c->embed);
            c->embed = NULL;
            return -(int)err->code;
        }
    }
    int r = client_open(cli, &c->client, err);
    return r == 0 ? change_catch_up(c, err) : r;
}

/* Print what the change waits for, as reported by the leader. */
static void change_print_progress(struct change *c)
{
    struct client_status all[CELL_REPLICAS_MAX];
    client_statuses(c->client, all);
    const struct client_status *leader = client_leader(all, c->client->cell.replica_count);
    const char *waits = leader != NULL ? leader->status.change : "";
    if (strcmp(waits, c->reported) == 0)
        return;
    str_copy(c->reported, sizeof c->reported, waits);
    if (waits[0] != '\0' && !c->cli->quiet && c->cli->output == OUTPUT_TABLE)
        print_err("borgctl: waiting: %s\n", waits);
}

/* Wait until the row of the replica has this state; "" means that the row is gone. */
static int change_wait(struct change *c, uint64_t id, const char *state, struct err *err)
{
    for (;;) {
        struct wire_rows rows;
        bool done = false;
        if (client_queryf(c->client, &rows, err, "SELECT state FROM replicas WHERE id = %llu",
                          (unsigned long long)id) == 0) {
            const char *now = rows.row_count > 0 ? render_text(&rows, 0, "state") : "";
            done = strcmp(now, state) == 0;
            wire_rows_release(&rows);
        }
        if (done)
            return 0;
        change_print_progress(c);
        if (clock_mono_ms() >= c->deadline_ms)
            return err_set(err, ERR_TIMEOUT,
                           "replica %" PRIu64 " is not %s yet%s%.200s; the cell continues the "
                           "change, `borgctl cell status` shows its progress",
                           id, state[0] != '\0' ? "a member" : "gone",
                           c->reported[0] != '\0' ? ": " : "", c->reported);
        uint64_t until_ms = clock_mono_ms() + LOOK_MS;
        while (clock_mono_ms() < until_ms)
            client_turn(c->client, LOOK_MS);
    }
}

/* Drop the removed replica from cell.json and, in the embedded cell, remove its files. */
static int forget(struct change *c, struct err *err)
{
    struct cell_file *cell = &c->client->cell;
    size_t at = place_of(cell, c->removed);
    if (at == cell->replica_count)
        return 0;
    memmove(&cell->replicas[at], &cell->replicas[at + 1],
            (cell->replica_count - at - 1) * sizeof cell->replicas[0]);
    cell->replica_count--;
    client_forget(c->client);
    return save_cell(c, err);
}

/* Look up the number that the cell has assigned to the new replica. */
static int number_find(struct change *c, struct err *err)
{
    struct wire_rows rows;
    if (client_queryf(c->client, &rows, err,
                      "SELECT id FROM replicas WHERE rpc = %Q AND state <> 'leaving'",
                      c->added.rpc) != 0)
        return -(int)err->code;
    c->added.id = rows.row_count > 0 ? (uint64_t)render_integer(&rows, 0, "id") : 0;
    wire_rows_release(&rows);
    return c->added.id != 0
               ? 0
               : err_set(err, ERR_NOT_FOUND, "the replica at %s is not in the cell", c->added.rpc);
}

/* Make its certificate if the CA's key is at hand. */
static int certificate_make(const struct change *c, struct err *err)
{
    char pki[CELL_PATH_MAX + 1], path[CELL_PATH_MAX + 64], name[32];
    struct identity id = {.role = ROLE_MASTER};
    str_copy(pki, sizeof pki, c->client->cell.ca_path);
    char *slash = strrchr(pki, '/');
    ASSERT(slash != NULL); /* the path is absolute */
    *slash = '\0';
    snprintf(path, sizeof path, "%s/ca.key", pki);
    if (access(path, R_OK) != 0)
        return 0;
    snprintf(name, sizeof name, "master-%" PRIu64, c->added.id);
    snprintf(id.name, sizeof id.name, "%" PRIu64, c->added.id);
    snprintf(path, sizeof path, "%s/%s.crt", pki, name);
    return access(path, F_OK) == 0 ? 0 : pki_make_cert(pki, name, &id, err);
}

static int added_start(struct change *c, struct err *err)
{
    struct cell_file *cell = &c->client->cell;
    size_t started = 0;
    if (place_of(cell, c->added.id) == cell->replica_count) {
        if (cell->replica_count == CELL_REPLICAS_MAX)
            return err_set(err, ERR_LIMIT, "%s lists %d replicas already", c->client->cell_path,
                           CELL_REPLICAS_MAX);
        cell->replicas[cell->replica_count++] = c->added;
    }
    if (save_cell(c, err) != 0 || certificate_make(c, err) != 0)
        return -(int)err->code;
    return c->embed != NULL ? embed_start(c->embed, &started, err) : 0;
}

static void added_explain(const struct change *c)
{
    if (c->cli->output == OUTPUT_JSON || c->embed != NULL)
        return;
    print("start it there, in an empty directory, with %s and certificate master/%" PRIu64 ":\n\n"
          "  borgmaster --cell cell.json --id %" PRIu64 " --dir DIR --cert master-%" PRIu64
          ".crt --key master-%" PRIu64 ".key\n\n",
          c->client->cell_path, c->added.id, c->added.id, c->added.id, c->added.id);
    fflush(stdout);
}

static int change_send(struct change *c, struct cmd *cmd, struct err *err)
{
    struct wire_answer answer;
    if (client_command(c->client, cmd, &answer, err) < 0)
        return -(int)err->code;
    client_settle(c->client);
    return 0;
}

static void change_print_result(const struct change *c)
{
    if (c->cli->output == OUTPUT_JSON) {
        render_json_print(
            stdout,
            json_pack("{s:o, s:o, s:i}", "added",
                      c->added.id != 0 ? json_integer((json_int_t)c->added.id) : json_null(),
                      "removed",
                      c->removed != 0 ? json_integer((json_int_t)c->removed) : json_null(),
                      "replicas", (int)c->client->cell.replica_count));
        return;
    }
    if (c->removed != 0)
        print("replica %" PRIu64 " is gone\n", c->removed);
    if (c->added.id != 0)
        print("replica %" PRIu64 " at %s is a member\n", c->added.id, c->added.rpc);
}

static int add_run(struct change *c, const char *address, struct err *err)
{
    struct cmd cmd = {.kind = CMD_MASTER_ADD, .master_add = {.replaces = c->removed}};
    int r = 0;
    if (address == NULL && c->embed == NULL)
        return err_set(err, ERR_INVALID,
                       "--addr HOST:PORT is missing: the address of the new replica");
    if (address == NULL)
        r = embed_find_address(c->embed, &c->added, err);
    else
        r = addresses_parse(address, &c->added, err);
    if (r != 0)
        return r;
    str_copy(cmd.master_add.rpc, sizeof cmd.master_add.rpc, c->added.rpc);
    str_copy(cmd.master_add.raft, sizeof cmd.master_add.raft, c->added.raft);
    if (change_send(c, &cmd, err) != 0 || number_find(c, err) != 0 || added_start(c, err) != 0)
        return -(int)err->code;
    added_explain(c);
    r = change_wait(c, c->added.id, "member", err);
    if (r == 0 && c->removed != 0)
        r = change_wait(c, c->removed, "", err);
    if (r == 0 && c->removed != 0)
        r = forget(c, err);
    if (r == 0)
        change_print_result(c);
    return r;
}

static int change_end(struct change *c, int r, const struct err *err)
{
    change_close(c);
    if (r == 0)
        return CLI_OK;
    int code = cli_fail(err);
    return err->code == ERR_INVALID ? CLI_USAGE : code;
}

int cmd_cell_add_replica(struct cli *cli)
{
    struct change c;
    struct err err;
    int r = change_open(&c, cli, 0, &err);
    return change_end(&c, r == 0 ? add_run(&c, cli_value(cli, OPT_ADDR), &err) : r, &err);
}

int cmd_cell_replace_replica(struct cli *cli)
{
    struct change c;
    struct err err;
    uint64_t id = 0;
    int r = replica_parse(cli->args[0], &id, &err);
    if (r != 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    r = change_open(&c, cli, id, &err);
    if (r == 0 && c.was_gone)
        r = err_set(
            &err, ERR_NOT_FOUND,
            "replica %" PRIu64 " was removed already; `borgctl cell add-replica` adds another", id);
    return change_end(&c, r == 0 ? add_run(&c, cli_value(cli, OPT_ADDR), &err) : r, &err);
}

static int remove_run(struct change *c, struct cmd *cmd, struct err *err)
{
    if (change_send(c, cmd, err) != 0 || change_wait(c, c->removed, "", err) != 0)
        return -(int)err->code;
    return forget(c, err);
}

int cmd_cell_remove_replica(struct cli *cli)
{
    struct change c;
    struct err err;
    struct cmd cmd = {.kind = CMD_MASTER_REMOVE};
    int r = replica_parse(cli->args[0], &cmd.master_remove.id, &err);
    if (r != 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    r = change_open(&c, cli, cmd.master_remove.id, &err);
    if (r == 0 && !c.was_gone)
        r = remove_run(&c, &cmd, &err);
    if (r == 0)
        change_print_result(&c);
    return change_end(&c, r, &err);
}

/* Check that the cell could lose any one replica now. */
static int restart_check(struct client *client, struct client_status all[CELL_REPLICAS_MAX],
                         struct err *err)
{
    client_statuses(client, all);
    const struct client_status *leader = client_leader(all, client->cell.replica_count);
    if (leader == NULL)
        return err_set(err, ERR_UNAVAILABLE, "no replica leads; `borgctl cell status` shows why");
    for (size_t i = 0; i < client->cell.replica_count; i++) {
        uint64_t id = client->cell.replicas[i].id;
        if (!all[i].reachable)
            return err_set(err, ERR_STATE,
                           "replica %" PRIu64 " does not answer; start it before others are "
                           "stopped",
                           id);
        if (all[i].status.leader != leader->status.id ||
            all[i].status.applied_index + BEHIND_MAX < leader->status.commit_index)
            return err_set(err, ERR_STATE,
                           "replica %" PRIu64 " has not caught up with the leader; try again later",
                           id);
    }
    return 0;
}

static int restart_wait(struct client *client, struct client_status all[CELL_REPLICAS_MAX],
                        struct err *err)
{
    uint64_t deadline_ms = clock_mono_ms() + RESTART_MS;
    int r;
    while ((r = restart_check(client, all, err)) != 0 && clock_mono_ms() < deadline_ms) {
        uint64_t until_ms = clock_mono_ms() + LOOK_MS / 2;
        while (clock_mono_ms() < until_ms)
            client_turn(client, LOOK_MS / 2);
    }
    return r;
}

static int restart_one(struct change *c, size_t at, struct client_status all[CELL_REPLICAS_MAX],
                       struct err *err)
{
    size_t started = 0;
    embed_stop_one(c->embed, at);
    if (embed_start(c->embed, &started, err) != 0 || restart_wait(c->client, all, err) != 0)
        return -(int)err->code;
    if (c->cli->output == OUTPUT_TABLE && !c->cli->quiet)
        print("replica %" PRIu64 " runs version %s\n", c->client->cell.replicas[at].id,
              all[at].status.version);
    fflush(stdout);
    return 0;
}

static int restart_run(struct change *c, struct err *err)
{
    struct client_status all[CELL_REPLICAS_MAX];
    const struct cell_file *cell = &c->client->cell;
    if (c->embed == NULL)
        return err_set(err, ERR_STATE,
                       "%.200s is not a cell of `borgctl cell up`: restart its masters one by one, "
                       "the leader last, each when `borgctl cell status` shows all others caught "
                       "up",
                       c->client->cell_path);
    if (restart_check(c->client, all, err) != 0)
        return -(int)err->code;
    uint64_t leader = client_leader(all, cell->replica_count)->status.id;
    int r = 0;
    for (size_t i = 0; i < cell->replica_count && r == 0; i++)
        if (cell->replicas[i].id != leader)
            r = restart_one(c, i, all, err);
    if (r == 0)
        r = restart_one(c, place_of(cell, leader), all, err);
    if (r == 0 && c->cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_pack("{s:i}", "restarted", (int)cell->replica_count));
    return r;
}

int cmd_cell_restart(struct cli *cli)
{
    struct change c;
    struct err err;
    int r = change_open(&c, cli, 0, &err);
    return change_end(&c, r == 0 ? restart_run(&c, &err) : r, &err);
}
