/*
 * cmd_cell.c - cell up, restore and down.
 */
#include "attributes.h"
#include "clock.h"
#include "embed.h"
#include "listing.h"
#include "replicas.h"
#include "spec.h"
#include "text.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READY_MS = 30000, READY_POLL_MS = 100, READY_QUERY_MS = 1000 };

/* Determine the directory: --dir, else the one that --cell, $BORG_CELL or the default names. */
static void cell_dir(const struct cli *cli, char ret[CELL_PATH_MAX + 1])
{
    const char *dir = cli_value(cli, OPT_DIR);
    if (dir != NULL) {
        str_copy(ret, CELL_PATH_MAX + 1, dir);
        return;
    }
    client_cell_path(cli, ret);
    char *slash = strrchr(ret, '/');
    if (slash == NULL)
        str_copy(ret, CELL_PATH_MAX + 1, ".");
    else
        *slash = '\0';
}

/* Make a client of the cell in `e`, regardless of --cell; with `user` NULL, as the user of --user.
 */
static int embed_client(const struct cli *cli, const struct embed *e, const char *user,
                        struct client **ret, struct err *err)
{
    struct cli *there = xcalloc(1, sizeof *there);
    char path[CELL_PATH_MAX + 1];
    *there = *cli;
    there->quiet = true;
    there->timeout_ms = READY_QUERY_MS;
    str_copy(path, sizeof path, e->dir);
    there->values[0] = (struct cli_option_value){OPT_CELL, path};
    if (user == NULL)
        user = cli_value(cli, OPT_USER);
    there->value_count = 1;
    if (user != NULL)
        there->values[there->value_count++] = (struct cli_option_value){OPT_USER, user};
    int r = client_open(there, ret, err);
    free(there);
    return r;
}

/* Learn from the running masters which replicas were removed, so that these are not started. */
static int members_learn(const struct cli *cli, struct embed *e, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct client_status all[CELL_REPLICAS_MAX];
    struct err why; /* if no master can be asked, cell.json has to do */
    if (e->is_new || !embed_has(e, "cell.json") || embed_client(cli, e, NULL, &client, &why) != 0 ||
        !replicas_ask(client, all))
        return 0;
    return replicas_settle(e, &client->cell, err);
}

struct readiness {
    uint64_t leader; /* id; 0: none */
    uint64_t links;
    int64_t machines_up;
    const struct embed_process *dead; /* a process that has ended */
    unsigned dead_looks;              /* how many times in a row it was seen */
    bool changed;                     /* the replicas differ from cell.json */
};

static bool is_ready(const struct embed *e, const struct readiness *r)
{
    return r->leader != 0 && r->links >= e->borglet_count &&
           r->machines_up >= (int64_t)e->borglet_count;
}

static void readiness_look(struct client *client, struct readiness *r)
{
    struct client_status all[CELL_REPLICAS_MAX];
    struct wire_rows rows;
    struct err err; /* an error means not ready yet: try again */
    r->changed = replicas_ask(client, all);
    const struct client_status *leader = client_leader(all, client->cell.replica_count);
    r->leader = leader != NULL ? leader->status.id : 0;
    r->links = 0;
    for (size_t i = 0; i < client->cell.replica_count; i++)
        r->links += all[i].reachable ? all[i].status.links : 0;
    r->machines_up = 0;
    if (r->leader == 0 ||
        client_query(client, "SELECT count(*) AS n FROM machines WHERE state = 'up'", false, &rows,
                     &err) < 0)
        return;
    r->machines_up = render_integer(&rows, 0, "n");
    wire_rows_release(&rows);
}

static void last_line(const char *path, char to[256])
{
    FILE *file = fopen(path, "re");
    char line[512];
    to[0] = '\0';
    if (file == NULL)
        return;
    fseek(file, -4096, SEEK_END);
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0')
            str_copy(to, 256, line);
    }
    fclose(file);
}

static int not_ready(const struct embed *e, const struct readiness *r, uint64_t wait_ms,
                     struct err *err)
{
    char line[256];
    if (r->dead != NULL) {
        last_line(r->dead->log_path, line);
        return err_set(err, ERR_UNAVAILABLE, "%s has ended: %.200s; read %.200s", r->dead->name,
                       line, r->dead->log_path);
    }
    if (r->leader == 0)
        return err_set(err, ERR_UNAVAILABLE,
                       "no leader within %" PRIu64 " s; read %.300s/log/master1.log and its "
                       "neighbours",
                       wait_ms / 1000, e->dir);
    return err_set(err, ERR_UNAVAILABLE,
                   "%" PRId64 " of %u borglets are up within %" PRIu64 " s; read %.300s/log/m1.log "
                   "and its neighbours",
                   MIN(r->machines_up, (int64_t)r->links), e->borglet_count, wait_ms / 1000,
                   e->dir);
}

/* A replica that was removed ends by itself when the others tell it so. A process must therefore be
 * seen dead twice before it counts: meanwhile the others report the removal to us too. */
static void processes_look(const struct embed *e, struct embed_process *all, struct readiness *r)
{
    size_t count = embed_processes(e, all);
    r->dead = NULL;
    for (size_t i = 0; i < count; i++)
        if (!all[i].alive)
            r->dead = &all[i];
    r->dead_looks = r->dead != NULL ? r->dead_looks + 1 : 0;
}

/* Follow a change of the replicas that happened while no replica in cell.json could be asked. */
static int members_change(struct embed *e, const struct client *client, struct err *err)
{
    size_t started = 0;
    int r = replicas_settle(e, &client->cell, err);
    return r == 0 ? embed_start(e, &started, err) : r;
}

static int ready_wait(const struct cli *cli, struct embed *e, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct embed_process *all = xcalloc(EMBED_PROCESSES_MAX, sizeof *all);
    struct readiness r = {0};
    uint64_t wait_ms = cli_flag(cli, OPT_TIMEOUT) ? cli->timeout_ms : READY_MS;
    uint64_t deadline = clock_mono_ms() + wait_ms;
    int rc = embed_client(cli, e, NULL, &client, err);
    while (rc == 0) {
        readiness_look(client, &r);
        if (r.changed && (rc = members_change(e, client, err)) != 0)
            break;
        processes_look(e, all, &r);
        if (r.dead == NULL && is_ready(e, &r))
            break;
        if (r.dead_looks > 2 || clock_mono_ms() >= deadline)
            rc = not_ready(e, &r, wait_ms, err);
        else
            client_turn(client, READY_POLL_MS);
    }
    free(all);
    return rc;
}

static void up_print(const struct cli *cli, const struct embed *e, size_t started)
{
    if (cli->output == OUTPUT_JSON) {
        render_json_print(stdout,
                          json_pack("{s:s, s:s, s:i, s:i, s:i}", "cell", e->cell.name, "dir",
                                    e->dir, "replicas", (int)e->replica_count, "borglets",
                                    (int)e->borglet_count, "started", (int)started));
        return;
    }
    print("cell %s is up in %s: %u master%s, %u borglet%s%s\n", e->cell.name, e->dir,
          e->replica_count, e->replica_count == 1 ? "" : "s", e->borglet_count,
          e->borglet_count == 1 ? "" : "s", started == 0 ? " (it was complete already)" : "");
    if (cli->quiet)
        return;
    print("\n  use it    export BORG_CELL=%s\n"
          "            borgctl submit examples/hello.jsonnet --wait\n"
          "            borgctl cell status\n"
          "  stop it   borgctl cell down --dir %s\n"
          "  logs      %s/log\n",
          e->dir, e->dir, e->dir);
}

static const char *own_name(void)
{
    const struct passwd *pw = getpwuid(geteuid());
    return pw != NULL ? pw->pw_name : CELL_OPERATOR;
}

/* Grant the rights unless the user has them already, so that a repeated `cell up` sends no
 * commands. */
static int grant(struct client *client, const char *user, uint32_t rights, struct err *err)
{
    struct wire_rows rows;
    struct wire_answer answer;
    struct cmd cmd = {.kind = CMD_IDENTITY_SET};
    if (client_queryf(client, &rows, err, "SELECT * FROM identities WHERE identity = 'user/%q'",
                      user) < 0)
        return -(int)err->code;
    for (enum right r = 0; r < RIGHT_COUNT; r++)
        if ((rights & BIT(r)) != 0 &&
            (rows.row_count == 0 || render_integer(&rows, 0, right_text(r)) == 0))
            cmd.identity_set.add |= BIT(r);
    wire_rows_release(&rows);
    snprintf(cmd.identity_set.identity, sizeof cmd.identity_set.identity, "user/%s", user);
    return cmd.identity_set.add == 0 ? 0 : client_command(client, &cmd, &answer, err);
}

/* Make the user who runs `cell up` an operator; the other users that he names may submit jobs of
 * every band. He has the key of CELL_OPERATOR and may therefore grant rights. */
static int rights_give(const struct cli *cli, const struct embed *e, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    const char *own = own_name(), *other = cli_value(cli, OPT_USER);
    bool has_own = name_valid(own) && strcmp(own, CELL_OPERATOR) != 0;
    bool has_other = other != NULL && strcmp(other, own) != 0 && strcmp(other, CELL_OPERATOR) != 0;
    int rc = has_own || has_other ? embed_client(cli, e, CELL_OPERATOR, &client, err) : 0;
    if (rc == 0 && has_own)
        rc = grant(client, own, BIT(RIGHT_OPERATOR), err);
    if (rc == 0 && has_other)
        rc = grant(client, other, BIT(RIGHT_PRODUCTION) | BIT(RIGHT_MONITORING), err);
    if (client != NULL)
        client_settle(client);
    return rc == 0 ? 0 : err_wrap(err, "cannot give rights in the cell");
}

static int options_parse(struct cli *cli, struct embed_options *w, struct err *err)
{
    uint64_t replicas, borglets, election, threshold;
    if (cli_number(cli, OPT_REPLICAS, 1, CELL_MASTERS_MAX, 0, &replicas, err) < 0 ||
        cli_number(cli, OPT_BORGLETS, 1, EMBED_BORGLETS_MAX, 0, &borglets, err) < 0 ||
        cli_number(cli, OPT_ELECTION, 50, 60000, 0, &election, err) < 0 ||
        cli_number(cli, OPT_SNAPSHOT, 16, 1000000, 0, &threshold, err) < 0)
        return -(int)err->code;
    if (replicas != 0 && replicas % 2 == 0)
        return err_set(err, ERR_INVALID,
                       "--replicas: %" PRIu64 " is even; a majority needs 1, 3, "
                       "5, 7 or 9",
                       replicas);
    *w = (struct embed_options){.replica_count = (uint32_t)replicas,
                                .borglet_count = (uint32_t)borglets,
                                .election_timeout_ms = (uint32_t)election,
                                .snapshot_threshold = (uint32_t)threshold,
                                .host = cli_value(cli, OPT_HOST),
                                .capacity = cli_value(cli, OPT_CAPACITY)};
    for (size_t i = 0; i < cli->value_count; i++) {
        char key[CELL_NAME_MAX + 1];
        const char *value;
        if (cli->values[i].option != OPT_ATTR)
            continue;
        if (attribute_parse(cli->values[i].text, key, &value, err) < 0)
            return err_wrap(err, "--attr");
        words_add(&w->attributes, cli->values[i].text);
    }
    const char *user = own_name();
    size_t n = 0;
    if (name_valid(user)) /* else another user must be named with --user */
        w->users[n++] = user;
    if (strcmp(user, CELL_OPERATOR) != 0)
        w->users[n++] = CELL_OPERATOR;
    if (cli_flag(cli, OPT_USER))
        w->users[n++] = cli_value(cli, OPT_USER);
    return 0;
}

static void start_print(const struct cli *cli, const struct embed *e)
{
    struct embed_process *all = xcalloc(EMBED_PROCESSES_MAX, sizeof *all);
    size_t count = embed_processes(e, all), missing = 0;
    for (size_t i = 0; i < count; i++)
        missing += !all[i].alive;
    free(all);
    if (missing > 0 && !cli->quiet && cli->output == OUTPUT_TABLE)
        print_err("starting %zu of the cell's %zu processes (%u masters, %u borglets) ...\n",
                  missing, count, e->replica_count, e->borglet_count);
}

/* Make the missing parts of the cell; with a checkpoint, make a new cell that starts from it. */
static int cell_make(struct embed *e, const struct embed_options *wanted, const char *checkpoint,
                     struct err *err)
{
    char path[CELL_PATH_MAX + 1];
    char *real = checkpoint != NULL ? realpath(checkpoint, NULL) : NULL;
    if (checkpoint != NULL && (real == NULL || strlen(real) > CELL_PATH_MAX)) {
        free(real);
        return err_errno(err, errno, "cannot read %s", checkpoint);
    }
    str_copy(path, sizeof path, real != NULL ? real : "");
    free(real);
    bool is_new = e->is_new;
    int r = embed_make(e, wanted, err);
    if (r < 0 || checkpoint == NULL)
        return r;
    r = embed_restore(e, path, err);
    struct err why;
    if (r < 0 && is_new && embed_wipe(e, &why) < 0)
        print_err("borgctl: %s\n", why.msg);
    return r;
}

static int up(struct cli *cli, const char *checkpoint)
{
    char dir[CELL_PATH_MAX + 1];
    struct embed_options wanted = {0};
    struct err err;
    size_t started = 0;
    if (options_parse(cli, &wanted, &err) < 0) {
        words_release(&wanted.attributes);
        cli_fail(&err);
        return CLI_USAGE;
    }
    struct embed *e = xcalloc(1, sizeof *e);
    cell_dir(cli, dir);
    int r = embed_open(dir, true, cli->timeout_ms, e, &err);
    if (r == 0) {
        r = members_learn(cli, e, &err);
        if (r == 0)
            r = cell_make(e, &wanted, checkpoint, &err);
        if (r == 0)
            start_print(cli, e);
        if (r == 0)
            r = embed_start(e, &started, &err);
        if (r == 0)
            r = ready_wait(cli, e, &err);
        if (r == 0)
            r = rights_give(cli, e, &err);
        if (r == 0)
            r = embed_begun(e, &err);
        if (r == 0)
            up_print(cli, e, started);
        embed_close(e);
    }
    free(e);
    words_release(&wanted.attributes);
    return r < 0 ? cli_fail(&err) : CLI_OK;
}

int cmd_cell_up(struct cli *cli)
{
    return up(cli, NULL);
}

int cmd_cell_restore(struct cli *cli)
{
    return up(cli, cli->args[0]);
}

struct stopped {
    size_t programs, tasks, killed, tasks_left;
    bool wiped;
};

static int down_run(const struct cli *cli, struct embed *e, struct stopped *ret, struct err *err)
{
    char borglets[CELL_PATH_MAX + 128];
    bool wipe = cli_flag(cli, OPT_WIPE);
    snprintf(borglets, sizeof borglets, "%s/borglets", e->dir);
    ret->programs = embed_stop(e);
    if (wipe || cli_flag(cli, OPT_TASKS))
        ret->tasks = proc_stop_tasks(borglets, EMBED_STOP_MS, &ret->killed);
    ret->tasks_left = proc_count_tasks(borglets);
    ret->wiped = wipe;
    return wipe ? embed_wipe(e, err) : 0;
}

static void down_print(const struct cli *cli, const char *dir, const struct stopped *s)
{
    if (cli->output == OUTPUT_JSON) {
        render_json_print(stdout,
                          json_pack("{s:s, s:I, s:I, s:I, s:b}", "dir", dir, "stopped",
                                    (json_int_t)s->programs, "tasks_stopped", (json_int_t)s->tasks,
                                    "tasks_left", (json_int_t)s->tasks_left, "wiped", s->wiped));
        return;
    }
    print("%zu masters and borglets stopped", s->programs);
    if (s->tasks > 0)
        print(", %zu task%s stopped", s->tasks, s->tasks == 1 ? "" : "s");
    print("%s\n", s->wiped ? ", directory removed" : "");
    if (s->tasks_left > 0)
        print("%zu task%s run%s on: borgctl cell up finds them again, borgctl cell down --tasks "
              "stops them\n",
              s->tasks_left, s->tasks_left == 1 ? "" : "s", s->tasks_left == 1 ? "s" : "");
}

int cmd_cell_down(struct cli *cli)
{
    char dir[CELL_PATH_MAX + 1];
    struct err err;
    struct stopped stopped = {0};
    struct embed *e = xcalloc(1, sizeof *e);
    cell_dir(cli, dir);
    int r = embed_open(dir, false, cli->timeout_ms, e, &err);
    if (r == 0) {
        r = down_run(cli, e, &stopped, &err);
        if (r == 0)
            down_print(cli, e->dir, &stopped);
        embed_close(e);
    }
    free(e);
    return r < 0 ? cli_fail(&err) : CLI_OK;
}
