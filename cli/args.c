/*
 * args.c - parse the command line by the tables of options and commands.
 */
#include "cli.h"
#include "nearest.h"
#include "text.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct option_info {
    const char *name;
    char short_name; /* 0: none */
    const char *metavar;
    const char *dashed;
};

static const struct option_info options[OPT_COUNT] = {
#define X(id, name, short_name, metavar, text) [OPT_##id] = {name, short_name, metavar, "--" name},
    CLI_OPTIONS(X)
#undef X
};

static const uint64_t options_global = OPTION(CELL) | OPTION(USER) | OPTION(OUTPUT) |
                                       OPTION(TIMEOUT) | OPTION(QUIET) | OPTION(HELP) |
                                       OPTION(VERSION);
_Static_assert(OPT_COUNT <= 63, "options are bits of 64");

enum { LONG_BASE = 256, TIMEOUT_MS_DEFAULT = 15000, TIMEOUT_S_MAX = 86400 };

const char *cli_option_name(enum cli_option option)
{
    return options[option].dashed;
}

const char *cli_value(const struct cli *cli, enum cli_option option)
{
    for (size_t i = cli->value_count; i-- > 0;) {
        if (cli->values[i].option == option)
            return cli->values[i].text;
    }
    return NULL;
}

bool cli_flag(const struct cli *cli, enum cli_option option)
{
    return cli_value(cli, option) != NULL;
}

int cli_number(struct cli *cli, enum cli_option option, uint64_t min, uint64_t max,
               uint64_t otherwise, uint64_t *ret, struct err *err)
{
    const char *text = cli_value(cli, option);
    if (text == NULL) {
        *ret = otherwise;
        return 0;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    bool digits = text[0] >= '0' && text[0] <= '9' && *end == '\0';
    cli->misused = !digits || errno != 0 || n < min || n > max;
    if (cli->misused)
        return err_set(err, ERR_INVALID,
                       "%s: \"%s\" is not a whole number from %" PRIu64 " to %" PRIu64,
                       cli_option_name(option), text, min, max);
    *ret = n;
    return 0;
}

static int option_unknown(const char *given, struct err *err)
{
    char word[64];
    str_copy(word, sizeof word, given);
    char *equals = strchr(word, '=');
    if (equals != NULL)
        *equals = '\0';
    const char *names[OPT_COUNT];
    /* Compare without the dashes: they are half of a two-letter word such as "--all". */
    for (size_t i = 0; i < OPT_COUNT; i++)
        names[i] = options[i].name;
    const char *near = word_nearest(word + strspn(word, "-"), names, OPT_COUNT);
    if (near != NULL)
        return err_set(err, ERR_INVALID, "there is no option %s; did you mean --%s?", word, near);
    return err_set(err, ERR_INVALID, "there is no option %s; see borgctl help", word);
}

static int option_add(struct cli *cli, enum cli_option option, const char *text, struct err *err)
{
    if (cli->value_count == CLI_VALUES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d options", CLI_VALUES_MAX);
    cli->values[cli->value_count++] = (struct cli_option_value){option, text ? text : ""};
    return 0;
}

const struct command *command_find(const char *const *argv, size_t count, size_t *ret_words)
{
    char name[64] = "";
    /* `job restart` is not `job` of a job that is called restart. */
    for (size_t words = MIN(count, (size_t)2); words > 0; words--) {
        snprintf(name, sizeof name, "%.20s%s%.20s", argv[0], words == 2 ? " " : "",
                 words == 2 ? argv[1] : "");
        for (const struct command *c = cli_commands; c->name != NULL; c++)
            if (strcmp(c->name, name) == 0) {
                *ret_words = words;
                return c;
            }
    }
    return NULL;
}

/* Return the command of this line as far as it can be known before its options are parsed. */
static const struct command *command_guess(int argc, char **argv)
{
    const struct command *found = NULL;
    for (int i = 1; found == NULL && i < argc && strcmp(argv[i], "--") != 0; i++) {
        size_t words;
        if (argv[i][0] != '-')
            found = command_find((const char *const *)argv + i, (size_t)(argc - i), &words);
    }
    return found;
}

/* Return whether another option has the same name and is the one that the command takes. */
static bool option_hidden(size_t option, const struct command *command)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (i == option || strcmp(options[i].name, options[option].name) != 0)
            continue;
        uint64_t takes = command == NULL ? 0 : command->options;
        bool takes_it = (takes & UINT64_C(1) << option) != 0;
        bool takes_other = (takes & UINT64_C(1) << i) != 0;
        if (takes_other || (!takes_it && i < option))
            return true;
    }
    return false;
}

/* Parse the options. getopt_long() permutes `argv`: afterwards the other words start at optind. */
static int options_scan(struct cli *cli, int argc, char **argv, struct err *err)
{
    struct option longs[OPT_COUNT + 1] = {0};
    char shorts[2 * OPT_COUNT + 2] = ":";
    const struct command *command = command_guess(argc, argv);
    for (size_t i = 0, count = 0; i < OPT_COUNT; i++) {
        if (option_hidden(i, command))
            continue;
        longs[count++] =
            (struct option){options[i].name, options[i].metavar != NULL, NULL, (int)i + LONG_BASE};
        if (options[i].short_name != 0)
            snprintf(shorts + strlen(shorts), 3, "%c%s", options[i].short_name,
                     options[i].metavar != NULL ? ":" : "");
    }
    opterr = 0;
    optind = 0; /* glibc: start anew, so that tests can parse several lines */
    for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        size_t at = 0;
        while (at < OPT_COUNT && c != options[at].short_name && c != (int)at + LONG_BASE)
            at++;
        if (c == ':')
            return err_set(err, ERR_INVALID, "%s needs a value", argv[optind - 1]);
        if (c == '?' && optopt >= LONG_BASE)
            return err_set(err, ERR_INVALID, "%s takes no value",
                           options[optopt - LONG_BASE].dashed);
        if (c == '?' && optopt != 0)
            return err_set(err, ERR_INVALID, "there is no option -%c; see borgctl help", optopt);
        if (at == OPT_COUNT)
            return option_unknown(argv[optind - 1], err);
        if (option_add(cli, (enum cli_option)at, optarg, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

bool command_is_group(const char *word)
{
    size_t size = strlen(word);
    for (const struct command *c = cli_commands; c->name != NULL; c++) {
        if (strncmp(c->name, word, size) == 0 && c->name[size] == ' ')
            return true;
    }
    return false;
}

static int command_unknown(const char *const *words, size_t count, struct err *err)
{
    const char *names[64];
    size_t name_count = 0;
    char given[64];
    for (const struct command *c = cli_commands; c->name != NULL; c++) {
        ASSERT(name_count < ARRAY_SIZE(names));
        names[name_count++] = c->name;
    }
    snprintf(given, sizeof given, "%.30s", words[0]);
    if (command_is_group(given) && count > 1)
        snprintf(given, sizeof given, "%.30s %.20s", words[0], words[1]);
    else if (command_is_group(given))
        return err_set(err, ERR_INVALID, "`%s` needs one more word; see borgctl help %s", given,
                       given);
    const char *near = word_nearest(given, names, name_count);
    if (near != NULL)
        return err_set(err, ERR_INVALID, "there is no command `%s`; did you mean `%s`?", given,
                       near);
    return err_set(err, ERR_INVALID, "there is no command `%s`; see borgctl help", given);
}

static int command_check(const struct cli *cli, struct err *err)
{
    const struct command *c = cli->command;
    for (size_t i = 0; i < cli->value_count; i++) {
        if ((UINT64_C(1) << cli->values[i].option & (options_global | c->options)) == 0)
            return err_set(err, ERR_INVALID, "`%s` has no option %s; see borgctl help %s", c->name,
                           cli_option_name(cli->values[i].option), c->name);
    }
    if (cli->arg_count < c->args_min)
        return err_set(err, ERR_INVALID, "`%s` needs %s; see borgctl help %s", c->name, c->args,
                       c->name);
    if (cli->arg_count > c->args_max)
        return err_set(err, ERR_INVALID, "`%s` takes no argument \"%s\"; see borgctl help %s",
                       c->name, cli->args[c->args_max], c->name);
    return 0;
}

static int globals_parse(struct cli *cli, struct err *err)
{
    uint64_t timeout_s;
    if (cli_number(cli, OPT_TIMEOUT, 1, TIMEOUT_S_MAX, TIMEOUT_MS_DEFAULT / 1000, &timeout_s, err) <
        0)
        return -(int)err->code;
    cli->timeout_ms = timeout_s * 1000;
    cli->quiet = cli_flag(cli, OPT_QUIET);
    const char *output = cli_value(cli, OPT_OUTPUT);
    if (output == NULL || strcmp(output, "table") == 0)
        cli->output = OUTPUT_TABLE;
    else if (strcmp(output, "json") == 0)
        cli->output = OUTPUT_JSON;
    else
        return err_set(err, ERR_INVALID, "-o: \"%s\" is neither table nor json", output);
    return 0;
}

int cli_parse(struct cli *cli, int argc, char **argv, struct err *err)
{
    *cli = (struct cli){0};
    if (options_scan(cli, argc, argv, err) < 0)
        return -(int)err->code;
    const char *const *words = (const char *const *)argv + optind;
    size_t count = (size_t)(argc - optind);
    size_t used = 0;
    bool answers_anyway = cli_flag(cli, OPT_HELP) || cli_flag(cli, OPT_VERSION);
    if (count > 0)
        cli->command = command_find(words, count, &used);
    if (answers_anyway)
        return 0;
    if (count == 0)
        return err_set(err, ERR_INVALID, "no command is given; see borgctl help");
    if (cli->command == NULL)
        return command_unknown(words, count, err);
    if (count - used > CLI_ARGS_MAX)
        return err_set(err, ERR_INVALID, "more than %d arguments", CLI_ARGS_MAX);
    for (size_t i = used; i < count; i++)
        cli->args[cli->arg_count++] = words[i];
    int r = command_check(cli, err);
    return r < 0 ? r : globals_parse(cli, err);
}

int cli_exit_of(enum err_code code)
{
    switch (code) {
    case ERR_OK:
        return CLI_OK;
    case ERR_UNAVAILABLE:
    case ERR_NOT_LEADER:
    case ERR_CLOSED:
    case ERR_TIMEOUT:
        return CLI_UNREACHABLE;
    case ERR_UNKNOWN_OUTCOME:
    case ERR_EXPIRED:
        return CLI_UNKNOWN;
    case ERR_INVALID:
    case ERR_NOT_FOUND:
    case ERR_EXISTS:
    case ERR_STATE:
    case ERR_DENIED:
    case ERR_LIMIT:
    case ERR_IO:
    case ERR_CORRUPT:
        return CLI_REFUSED;
    }
    return CLI_REFUSED;
}

int cli_fail(const struct err *err)
{
    CLEANUP(buf_release) struct buf line = {0};
    fflush(stdout);
    text_escape(&line, err->msg); /* it may contain text of a peer */
    print_err("borgctl: %s\n", buf_text(&line));
    return cli_exit_of(err->code);
}

int cli_task(const char *text, char ret_job[CELL_NAME_MAX + 1], int64_t *ret_index, struct err *err)
{
    const char *slash = strchr(text, '/');
    size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
    char *end = NULL;
    unsigned long index = slash != NULL ? strtoul(slash + 1, &end, 10) : 0;
    bool digits = slash == NULL || (slash[1] >= '0' && slash[1] <= '9' && *end == '\0');
    if (n == 0 || n > CELL_NAME_MAX || !digits || index >= CELL_TASKS_PER_JOB_MAX)
        return err_set(err, ERR_NOT_FOUND, "\"%.80s\" is not JOB/INDEX", text);
    memcpy(ret_job, text, n);
    ret_job[n] = '\0';
    *ret_index = slash != NULL ? (int64_t)index : -1;
    return 0;
}
