/*
 * identity.c - identities as text and back.
 */
#include "spec.h"
#include "tls.h"

#include <stdio.h>
#include <string.h>

enum { NUMBER_DIGITS_MAX = 10 };

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

/* Return whether `name` is a replica's number: at most ten digits, without a leading zero. */
static bool number_valid(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= NUMBER_DIGITS_MAX && name[0] != '0' &&
           strspn(name, "0123456789") == length;
}

int identity_parse(const char *common_name, struct identity *ret, struct err *err)
{
    for (int role = ROLE_NONE + 1; role < ROLE_COUNT; role++) {
        size_t length = strlen(role_texts[role]);
        if (strncmp(common_name, role_texts[role], length) != 0 || common_name[length] != '/')
            continue;
        const char *name = common_name + length + 1;
        if (role == ROLE_MASTER ? !number_valid(name) : !name_valid(name))
            break;
        *ret = (struct identity){.role = (enum role)role};
        str_copy(ret->name, sizeof ret->name, name);
        return 0;
    }
    return err_set(
        err, ERR_INVALID,
        "\"%.80s\" is not an identity: expected master/NUMBER, borglet/NAME or user/NAME, "
        "with a name of a-z 0-9 . _ - that begins with a letter or a digit",
        common_name);
}

struct identity_text identity_text(const struct identity *id)
{
    struct identity_text text;
    snprintf(text.text, sizeof text.text, "%s/%s", role_text(id->role), id->name);
    return text;
}
