/*
 * cmd_identity.c - grant, ungrant, revoke, unrevoke and identities: who may do what in the cell.
 */
#include "cmd_pack.h"
#include "listing.h"
#include "text.h"

#include <stdio.h>
#include <string.h>

/* Expand "ada" to "user/ada"; "user/ada", "borglet/m1" and "master/3" are complete. */
static int identity_take(const char *text, bool users_only, char to[IDENTITY_MAX + 1],
                         struct err *err)
{
    const char *prefix = strchr(text, '/') == NULL ? "user/" : "";
    if (snprintf(to, IDENTITY_MAX + 1, "%s%s", prefix, text) > IDENTITY_MAX ||
        identity_valid(to, NULL) != 0)
        return err_set(err, ERR_INVALID,
                       "\"%.80s\" is neither a user's name nor borglet/MACHINE nor master/NUMBER",
                       text);
    if (users_only && strncmp(to, "user/", 5) != 0)
        return err_set(err, ERR_INVALID, "\"%.80s\" is not a user: only users have rights", text);
    return 0;
}

static int rights_take(const struct cli *cli, uint32_t *ret, struct err *err)
{
    for (size_t i = 1; i < cli->arg_count; i++) {
        enum right r = 0;
        while (r < RIGHT_COUNT && strcmp(cli->args[i], right_text(r)) != 0)
            r++;
        if (r == RIGHT_COUNT)
            return err_set(err, ERR_INVALID,
                           "\"%.60s\" is none of operator, reader, production, monitoring",
                           cli->args[i]);
        *ret |= BIT(r);
    }
    return 0;
}

static int identity_send(struct cli *cli, struct cmd *cmd, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct wire_answer answer;
    if (client_open(cli, &client, err) < 0 || client_command(client, cmd, &answer, err) < 0)
        return -(int)err->code;
    client_settle(client);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_pack("{s:s, s:I}", "identity", cmd->identity_set.identity,
                                            "index", (json_int_t)answer.index));
    else
        print("%s\n", answer.msg);
    return 0;
}

static int rights_change(struct cli *cli, bool give)
{
    struct err err;
    struct cmd cmd = {.kind = CMD_IDENTITY_SET};
    struct cmd_identity_set *set = &cmd.identity_set;
    if (identity_take(cli->args[0], true, set->identity, &err) < 0 ||
        rights_take(cli, give ? &set->add : &set->remove, &err) < 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    return identity_send(cli, &cmd, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

int cmd_grant(struct cli *cli)
{
    return rights_change(cli, true);
}

int cmd_ungrant(struct cli *cli)
{
    return rights_change(cli, false);
}

static int revocation_change(struct cli *cli, enum revoke revoke)
{
    struct err err;
    struct cmd cmd = {.kind = CMD_IDENTITY_SET, .identity_set = {.revoke = revoke}};
    if (identity_take(cli->args[0], false, cmd.identity_set.identity, &err) < 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    return identity_send(cli, &cmd, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

int cmd_revoke(struct cli *cli)
{
    return revocation_change(cli, REVOKE_YES);
}

int cmd_unrevoke(struct cli *cli)
{
    return revocation_change(cli, REVOKE_RESTORE);
}
