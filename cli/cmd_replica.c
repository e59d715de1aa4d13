/*
 * cmd_replica.c - the replicas of a cell, as operators see them: who leads.
 */
#include "client.h"
#include "render.h"

#include <errno.h>
#include <stdlib.h>

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
        printf("%s\n", answer.msg);
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
