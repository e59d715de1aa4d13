/*
 * cmd_operate.c - drain, undrain, machine remove, quotas, update and policy.
 */
#include "clock.h"
#include "cmd_pack.h"
#include "jobfile.h"
#include "listing.h"
#include "quantity.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_MS = 100 };

static int name_take(const char *what, const char *text, char to[CELL_NAME_MAX + 1],
                     struct err *err)
{
    if (strlen(text) > CELL_NAME_MAX)
        return err_set(err, ERR_NOT_FOUND, "no %s has a name that long; check the spelling", what);
    str_copy(to, CELL_NAME_MAX + 1, text);
    return 0;
}

/* Wait until no task is left on the machine; report the rest on stderr when it changes. */
static int drain_wait(const struct cli *cli, struct client *client, struct err *err)
{
    int64_t reported[2] = {-1, -1};
    uint64_t empty_ms = 0;
    for (;;) {
        struct wire_rows rows;
        if (client_queryf(client, &rows, err,
                          "SELECT draining, unconfirmed, count(t.idx) AS tasks, "
                          "count(nullif(t.stopping, '')) AS stopping FROM machines m "
                          "LEFT JOIN tasks t ON t.machine_id = m.id WHERE m.name = %Q",
                          cli->args[0]) < 0)
            return -(int)err->code;
        bool draining = render_integer(&rows, 0, "draining") != 0;
        int64_t now[2] = {render_integer(&rows, 0, "tasks"), render_integer(&rows, 0, "stopping")};
        int64_t unconfirmed = render_integer(&rows, 0, "unconfirmed");
        wire_rows_release(&rows);
        if (now[0] == 0 && unconfirmed == 0)
            return 0;
        empty_ms = now[0] == 0 && empty_ms == 0 ? clock_mono_ms() : empty_ms;
        if (now[0] == 0 && clock_mono_ms() - empty_ms >= cli->timeout_ms)
            return err_set(err, ERR_UNKNOWN_OUTCOME,
                           "it is silent: the processes of %" PRId64
                           " attempts may still run there "
                           "until it is back or is removed (borgctl machine remove)",
                           unconfirmed);
        if (!draining)
            return err_set(err, ERR_STATE,
                           "it was undrained meanwhile, with %" PRId64 " tasks left on it", now[0]);
        if (!cli->quiet && memcmp(reported, now, sizeof now) != 0)
            print_err("machine %s: %" PRId64 " task%s left, %" PRId64 " stopping%s\n", cli->args[0],
                      now[0], now[0] == 1 ? "" : "s", now[1],
                      now[1] < now[0] ? "; the others wait for max_disruptions of their jobs" : "");
        memcpy(reported, now, sizeof now);
        client_turn(client, POLL_MS);
    }
}

static int drain_run(struct cli *cli, bool on, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct wire_answer answer;
    struct cmd cmd = {.kind = CMD_MACHINE_DRAIN, .machine_drain = {.on = on}};
    if (name_take("machine", cli->args[0], cmd.machine_drain.name, err) < 0 ||
        client_open(cli, &client, err) < 0 || client_command(client, &cmd, &answer, err) < 0)
        return -(int)err->code;
    bool wait = on && cli_flag(cli, OPT_WAIT);
    client_settle(client);
    if (wait && drain_wait(cli, client, err) < 0)
        return err_wrap(err, "machine %s is draining, but waiting for it failed", cli->args[0]);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout,
                          json_pack("{s:s, s:b, s:I, s:b}", "machine", cli->args[0], "draining", on,
                                    "index", (json_int_t)answer.index, "empty", wait));
    else if (wait)
        print("machine %s is drained\n", cli->args[0]);
    else
        print("%s\n", answer.msg);
    return 0;
}

int cmd_drain(struct cli *cli)
{
    struct err err;
    return drain_run(cli, true, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

int cmd_undrain(struct cli *cli)
{
    struct err err;
    return drain_run(cli, false, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

static int remove_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct wire_answer answer;
    struct cmd cmd = {.kind = CMD_MACHINE_REMOVE,
                      .machine_remove = {.force = cli_flag(cli, OPT_FORCE)}};
    if (name_take("machine", cli->args[0], cmd.machine_remove.name, err) < 0 ||
        client_open(cli, &client, err) < 0 || client_command(client, &cmd, &answer, err) < 0)
        return -(int)err->code;
    client_settle(client);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_pack("{s:s, s:b, s:I}", "machine", cli->args[0], "removed",
                                            true, "index", (json_int_t)answer.index));
    else
        print("%s\n", answer.msg);
    return 0;
}

int cmd_machine_remove(struct cli *cli)
{
    struct err err;
    return remove_run(cli, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

static int band_parse(const char *text, enum band *ret, struct err *err)
{
    for (enum band b = BAND_BATCH; b < BAND_COUNT; b++) {
        if (strcmp(text, band_text(b)) == 0) {
            *ret = b;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "\"%.60s\" is none of batch, production, monitoring%s", text,
                   strcmp(text, "free") == 0 ? "; free work needs no quota" : "");
}

static int count_parse(const char *text, int64_t *ret, struct err *err)
{
    char *end = NULL;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return err_set(err, ERR_INVALID, "\"%.60s\" is not a whole number", text);
    *ret = n;
    return 0;
}

/* Parse one amount. An unknown name is taken as a named resource; the cell refuses it if no machine
 * has such a resource. */
static int part_parse(struct cmd_quota_set *set, const char *name, const char *text,
                      struct err *err)
{
    struct quota *quota = &set->quota;
    bool is_tasks = strcmp(name, "tasks") == 0;
    enum resource r = is_tasks || strlen(name) > RESOURCE_NAME_MAX
                          ? RES_COUNT
                          : resource_names_put(&set->resource_names, name);
    if (!is_tasks && (r == RES_COUNT || resource_names_valid(&set->resource_names, NULL) != 0))
        return err_set(err, ERR_INVALID,
                       "\"%.60s\" is none of cpu, ram, disk, ports, gpu, tasks, nor one of %d "
                       "resources that a cell may name",
                       name, RESOURCES_NAMED_MAX);
    int64_t *to = is_tasks ? &quota->tasks : &quota->limit.v[r];
    if (*to != QUOTA_UNLIMITED)
        return err_set(err, ERR_INVALID, "%s is given twice", name);
    if (r == RES_CPU || r == RES_GPU)
        return quantity_parse_milli(text, to, err);
    return r == RES_RAM || r == RES_DISK ? quantity_parse_bytes(text, to, err)
                                         : count_parse(text, to, err);
}

/* Parse "cpu=20,ram=64Gi,tasks=100". */
static int amounts_parse(const char *text, struct cmd_quota_set *set, struct err *err)
{
    struct quota *quota = &set->quota;
    char copy[256];
    char *rest = NULL;
    if (strlen(text) >= sizeof copy)
        return err_set(err, ERR_INVALID, "the list of amounts is too long");
    str_copy(copy, sizeof copy, text);
    for (int r = 0; r < RES_COUNT; r++)
        quota->limit.v[r] = QUOTA_UNLIMITED;
    quota->tasks = QUOTA_UNLIMITED;
    if (text[0] == '\0')
        return err_set(
            err, ERR_INVALID,
            "no amount is given; expected some of cpu=N,ram=N,disk=N,ports=N,gpu=N,tasks=N");
    for (char *part = strtok_r(copy, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(part, '=');
        if (equals == NULL)
            return err_set(err, ERR_INVALID, "\"%.60s\" is not of the form cpu=N", part);
        *equals = '\0';
        if (part_parse(set, part, equals + 1, err) < 0)
            return err_wrap(err, "%s", part);
    }
    return 0;
}

static int quota_run(struct cli *cli, struct cmd *cmd, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct wire_answer answer;
    if (name_take("user", cli->args[0], cmd->quota_set.quota.user, err) < 0 ||
        client_open(cli, &client, err) < 0 || client_command(client, cmd, &answer, err) < 0)
        return -(int)err->code;
    client_settle(client);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_pack("{s:s, s:s, s:b, s:I}", "user", cli->args[0], "band",
                                            cli->args[1], "cleared", cmd->quota_set.clear, "index",
                                            (json_int_t)answer.index));
    else
        print("%s\n", answer.msg);
    return 0;
}

static int quota_change(struct cli *cli, bool clear)
{
    struct err err;
    struct cmd cmd = {.kind = CMD_QUOTA_SET, .quota_set = {.clear = clear}};
    struct quota *quota = &cmd.quota_set.quota;
    if (band_parse(cli->args[1], &quota->band, &err) < 0 ||
        (!clear && amounts_parse(cli->args[2], &cmd.quota_set, &err) < 0)) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    return quota_run(cli, &cmd, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

int cmd_quota_set(struct cli *cli)
{
    return quota_change(cli, false);
}

int cmd_quota_clear(struct cli *cli)
{
    return quota_change(cli, true);
}

static int update_parse_limit(const struct cli *cli, struct cmd_job_update *ret, struct err *err)
{
    static const struct {
        enum cli_option option;
        enum resource resource;
        int (*parse)(const char *text, int64_t *ret, struct err *err);
    } amounts[] = {{OPT_CPU, RES_CPU, quantity_parse_milli},
                   {OPT_RAM, RES_RAM, quantity_parse_bytes},
                   {OPT_DISK, RES_DISK, quantity_parse_bytes},
                   {OPT_GPU, RES_GPU, quantity_parse_milli}};
    for (size_t i = 0; i < ARRAY_SIZE(amounts); i++) {
        const char *text = cli_value(cli, amounts[i].option);
        if (text == NULL)
            continue;
        if (amounts[i].parse(text, &ret->limit.v[amounts[i].resource], err) < 0)
            return err_wrap(err, "%s", cli_option_name(amounts[i].option));
        ret->resized |= 1U << amounts[i].resource;
    }
    return 0;
}

static int update_parse(struct cli *cli, struct cmd_job_update *ret, struct err *err)
{
    uint64_t number;
    const char *priority = cli_value(cli, OPT_PRIORITY);
    *ret = (struct cmd_job_update){.replicas = JOB_UPDATE_KEEP, .priority = JOB_UPDATE_KEEP};
    if (update_parse_limit(cli, ret, err) < 0)
        return -(int)err->code;
    if (priority == NULL && !cli_flag(cli, OPT_TASK_REPLICAS) && ret->resized == 0)
        return err_set(err, ERR_INVALID,
                       "nothing to change: give --replicas, --priority, --cpu, --ram, --disk or "
                       "--gpu");
    if (cli_number(cli, OPT_TASK_REPLICAS, 1, CELL_TASKS_PER_JOB_MAX, 0, &number, err) < 0)
        return -(int)err->code;
    if (cli_flag(cli, OPT_TASK_REPLICAS))
        ret->replicas = (int64_t)number;
    if (priority == NULL)
        return 0;
    ret->priority = band_priority(priority);
    if (ret->priority >= 0)
        return 0;
    if (cli_number(cli, OPT_PRIORITY, 0, PRIORITY_MAX, 0, &number, err) < 0)
        return err_set(err, ERR_INVALID,
                       "--priority: \"%.60s\" is none of free, batch, production, monitoring, nor "
                       "a number from 0 to %d",
                       priority, PRIORITY_MAX);
    ret->priority = (int64_t)number;
    return 0;
}

static int update_run(struct cli *cli, struct cmd *cmd, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct wire_answer answer;
    if (name_take("job", cli->args[0], cmd->job_update.name, err) < 0 ||
        client_open(cli, &client, err) < 0 || client_command(client, cmd, &answer, err) < 0)
        return -(int)err->code;
    client_settle(client);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout,
                          json_pack("{s:s, s:I, s:I}", "job", cli->args[0], "job_id",
                                    (json_int_t)answer.job, "index", (json_int_t)answer.index));
    else
        print("%s\n", answer.msg);
    return 0;
}

int cmd_update(struct cli *cli)
{
    struct err err;
    struct cmd cmd = {.kind = CMD_JOB_UPDATE};
    if (update_parse(cli, &cmd.job_update, &err) < 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    return update_run(cli, &cmd, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

#if CELL_FORMAT >= 2
static int restart_run(struct cli *cli, struct cmd *cmd, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct wire_answer answer;
    if (client_open(cli, &client, err) < 0 || client_command(client, cmd, &answer, err) < 0)
        return -(int)err->code;
    client_settle(client);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_pack("{s:s, s:I, s:I}", "job", cmd->job_restart.name,
                                            "stopped", (json_int_t)answer.accepted, "index",
                                            (json_int_t)answer.index));
    else
        print("%s\n", answer.msg);
    return 0;
}

int cmd_job_restart(struct cli *cli)
{
    struct err err;
    struct cmd cmd = {.kind = CMD_JOB_RESTART};
    uint64_t batch;
    if (cli_number(cli, OPT_BATCH, 1, CELL_TASKS_PER_JOB_MAX, 0, &batch, &err) < 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    cmd.job_restart.batch = (uint32_t)batch;
    if (cli_task(cli->args[0], cmd.job_restart.name, &cmd.job_restart.index, &err) < 0)
        return cli_fail(&err);
    return restart_run(cli, &cmd, &err) < 0 ? cli_fail(&err) : CLI_OK;
}
#endif

/* Without a name: what it is now. */
static int policy_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    struct cmd cmd = {.kind = CMD_POLICY_SET};
    struct wire_answer answer = {0};
    int policy = cli->arg_count > 0 ? policy_parse(cli->args[0]) : 0;
    if (policy < 0 || policy >= POLICY_COUNT)
        return err_set(err, ERR_INVALID,
                       "\"%.60s\" is none of best-fit, worst-fit, stranding-aware", cli->args[0]);
    cmd.policy_set.policy = (enum policy)policy;
    if (client_open(cli, &client, err) < 0)
        return -(int)err->code;
    if (cli->arg_count > 0) {
        if (client_command(client, &cmd, &answer, err) < 0)
            return -(int)err->code;
        client_settle(client);
        if (cli->output == OUTPUT_TABLE)
            print("%s\n", answer.msg);
        if (cli->output == OUTPUT_TABLE)
            return 0;
    }
    if (client_queryf(client, &rows, err, "SELECT policy FROM meta") < 0)
        return -(int)err->code;
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_pack("{s:s}", "policy", render_text(&rows, 0, "policy")));
    else
        print("%s\n", render_text(&rows, 0, "policy"));
    return 0;
}

int cmd_cell_policy(struct cli *cli)
{
    struct err err;
    if (policy_run(cli, &err) == 0)
        return CLI_OK;
    int code = cli_fail(&err);
    return err.code == ERR_INVALID ? CLI_USAGE : code;
}

static int release_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct cmd cmd = {.kind = CMD_HOLD_SET, .hold_set = {.hold = HOLD_RELEASED}};
    struct wire_answer answer;
    if (client_open(cli, &client, err) < 0 || client_command(client, &cmd, &answer, err) < 0)
        return -(int)err->code;
    client_settle(client);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_pack("{s:s, s:I}", "hold", hold_text(HOLD_RELEASED), "index",
                                            (json_int_t)answer.index));
    else
        print("%s\n", answer.msg);
    return 0;
}

static int upgrade_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct cmd cmd = {.kind = CMD_FORMAT_SET}; /* 0: the latest that all masters know */
    struct wire_answer answer;
    if (client_open(cli, &client, err) < 0 || client_command(client, &cmd, &answer, err) < 0)
        return -(int)err->code;
    client_settle(client);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_pack("{s:s, s:I}", "answer", answer.msg, "index",
                                            (json_int_t)answer.index));
    else
        print("%s\n", answer.msg);
    return 0;
}

int cmd_cell_upgrade(struct cli *cli)
{
    struct err err;
    return upgrade_run(cli, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

int cmd_cell_release(struct cli *cli)
{
    struct err err;
    return release_run(cli, &err) < 0 ? cli_fail(&err) : CLI_OK;
}
