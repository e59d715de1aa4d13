/*
 * identity.c - who somebody is, as text and back.
 */
#include "tls.h"

#include <stdio.h>
#include <string.h>

static const char *const role_texts[ROLE_COUNT] = {
    [ROLE_NONE] = "none",
    [ROLE_MASTER] = "master",
    [ROLE_BORGLET] = "borglet",
    [ROLE_USER] = "user",
};

const char *role_text(enum role role)
{
    return (unsigned)role < ROLE_COUNT ? role_texts[role] : "none";
}

static bool name_valid(const char *name, bool digits_only)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "._-@+0123456789";
    size_t length = strlen(name);
    if (length == 0 || length > CELL_NAME_MAX)
        return false;
    return strspn(name, digits_only ? "0123456789" : allowed) == length;
}

int identity_parse(const char *common_name, struct identity *ret, struct err *err)
{
    for (int role = ROLE_NONE + 1; role < ROLE_COUNT; role++) {
        size_t length = strlen(role_texts[role]);
        if (strncmp(common_name, role_texts[role], length) != 0 || common_name[length] != '/')
            continue;
        const char *name = common_name + length + 1;
        if (!name_valid(name, role == ROLE_MASTER))
            break;
        *ret = (struct identity){.role = (enum role)role};
        str_copy(ret->name, sizeof ret->name, name);
        return 0;
    }
    return err_set(err, ERR_INVALID,
                   "\"%.80s\" is no identity: expected master/NUMBER, borglet/NAME or user/NAME",
                   common_name);
}

struct identity_text identity_text(const struct identity *id)
{
    struct identity_text text;
    snprintf(text.text, sizeof text.text, "%s/%s", role_text(id->role), id->name);
    return text;
}
