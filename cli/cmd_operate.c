/*
 * cmd_operate.c - drain and undrain: what keeps a cell in order while it runs.
 */
#include "cmd_pack.h"
#include "listing.h"

#include <string.h>

enum { POLL_MS = 100 };

static int name_take(const char *what, const char *text, char to[CELL_NAME_MAX + 1],
                     struct err *err)
{
    if (strlen(text) > CELL_NAME_MAX)
        return err_set(err, ERR_NOT_FOUND, "there is no %s of so long a name", what);
    str_copy(to, CELL_NAME_MAX + 1, text);
    return 0;
}

/* Until nothing is left on the machine; what is left is told on stderr when it changes. */
static int drain_wait(const struct cli *cli, struct client *client, struct err *err)
{
    int64_t told[2] = {-1, -1};
    for (;;) {
        struct wire_rows rows;
        if (client_queryf(client, &rows, err,
                          "SELECT draining, count(t.idx) AS tasks, "
                          "count(nullif(t.stopping, '')) AS stopping FROM machines m "
                          "LEFT JOIN tasks t ON t.machine_id = m.id WHERE m.name = %Q",
                          cli->args[0]) < 0)
            return -(int)err->code;
        bool draining = render_integer(&rows, 0, "draining") != 0;
        int64_t now[2] = {render_integer(&rows, 0, "tasks"), render_integer(&rows, 0, "stopping")};
        wire_rows_release(&rows);
        if (now[0] == 0)
            return 0;
        if (!draining)
            return err_set(err, ERR_STATE, "somebody undrained it, %" PRId64 " tasks are there",
                           now[0]);
        if (!cli->quiet && memcmp(told, now, sizeof now) != 0)
            fprintf(stderr, "machine %s: %" PRId64 " task%s left, %" PRId64 " told to stop%s\n",
                    cli->args[0], now[0], now[0] == 1 ? "" : "s", now[1],
                    now[1] < now[0] ? "; the others wait for max_disruptions of their jobs" : "");
        memcpy(told, now, sizeof now);
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
        printf("machine %s is drained\n", cli->args[0]);
    else
        printf("%s\n", answer.msg);
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
