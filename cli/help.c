/*
 * help.c - the command table, printed for people: help, help of one command, manual page.
 */
#include "cli.h"
#include "jobfile.h"

#include <string.h>

struct option_help {
    const char *name;
    char short_name;
    const char *metavar;
    const char *text;
};

static const struct option_help options[OPT_COUNT] = {
#define X(id, name, short_name, metavar, text) [OPT_##id] = {name, short_name, metavar, text},
    CLI_OPTIONS(X)
#undef X
};

static const uint64_t options_global =
    OPTION(CELL) | OPTION(USER) | OPTION(OUTPUT) | OPTION(TIMEOUT) | OPTION(QUIET) | OPTION(HELP);

static const struct {
    int number;
    const char *text;
} exits[] = {
#define X(name, number, text) {number, text},
    CLI_EXITS(X)
#undef X
};

static void option_text(char *to, size_t size, const struct option_help *o)
{
    char letter[8] = "";
    if (o->short_name != 0)
        snprintf(letter, sizeof letter, "-%c, ", o->short_name);
    snprintf(to, size, "%s--%s%s%s", letter, o->name, o->metavar != NULL ? " " : "",
             o->metavar != NULL ? o->metavar : "");
}

static void options_print(FILE *to, uint64_t set)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        char text[80];
        if ((set & UINT64_C(1) << i) == 0)
            continue;
        option_text(text, sizeof text, &options[i]);
        if (strlen(text) <= 24)
            fprintf(to, "  %-24s  %s\n", text, options[i].text);
        else
            fprintf(to, "  %s\n  %-24s  %s\n", text, "", options[i].text);
    }
}

static void command_line_print(FILE *to, const struct command *c)
{
    char usage[80];
    snprintf(usage, sizeof usage, "%s%s%s", c->name, c->args[0] != '\0' ? " " : "", c->args);
    fprintf(to, "  %-24s  %s\n", usage, c->summary);
}

/* The commands of two words that begin with this one. */
static void help_print_group(FILE *to, const char *word)
{
    size_t size = strlen(word);
    fprintf(to, "usage: borgctl [OPTIONS] %s COMMAND [ARGUMENTS]\n\ncommands:\n", word);
    for (const struct command *c = cli_commands; c->name != NULL; c++) {
        if (strncmp(c->name, word, size) == 0 && c->name[size] == ' ')
            command_line_print(to, c);
    }
    fprintf(to, "\nborgctl help %s COMMAND tells more, with examples.\n", word);
}

void help_print(FILE *to)
{
    fprintf(to, "borgctl - hand jobs to a cell, watch them, and keep a cell of your own\n\n"
                "usage: borgctl [OPTIONS] COMMAND [ARGUMENTS]\n\ncommands:\n");
    for (const struct command *c = cli_commands; c->name != NULL; c++)
        command_line_print(to, c);
    fprintf(to, "\noptions of every command:\n");
    options_print(to, options_global);
    fprintf(to, "\nThe cell is --cell, else $BORG_CELL, else ~/.borg/cell. Exit codes:\n");
    for (size_t i = 0; i < ARRAY_SIZE(exits); i++)
        fprintf(to, "  %3d  %s\n", exits[i].number, exits[i].text);
    fprintf(to, "\nborgctl help COMMAND tells more, with examples.\n");
}

void help_print_command(FILE *to, const struct command *c)
{
    fprintf(to, "borgctl %s - %s\n\nusage: borgctl %s%s%s%s\n", c->name, c->summary, c->name,
            c->args[0] != '\0' ? " " : "", c->args, c->options != 0 ? " [OPTIONS]" : "");
    if (c->details != NULL)
        fprintf(to, "\n%s\n", c->details);
    if (c->options != 0) {
        fprintf(to, "\noptions:\n");
        options_print(to, c->options);
    }
    fprintf(to, "\noptions of every command:\n");
    options_print(to, options_global);
    fprintf(to, "\nexamples:\n%s\n", c->examples);
    if (c->help_more != NULL) {
        fputc('\n', to);
        c->help_more(to);
    }
}

/* Text for roff: a line must not start with a dot or a quote, backslashes and dashes are said. */
static void man_text(FILE *to, const char *text)
{
    bool line_start = true;
    for (const char *p = text; *p != '\0'; p++) {
        if (line_start && (*p == '.' || *p == '\''))
            fputs("\\&", to);
        if (*p == '\\')
            fputs("\\e", to);
        else if (*p == '-')
            fputs("\\-", to);
        else
            fputc(*p, to);
        line_start = *p == '\n';
    }
}

static void man_options(FILE *to, uint64_t set)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        char text[80];
        if ((set & UINT64_C(1) << i) == 0)
            continue;
        option_text(text, sizeof text, &options[i]);
        fprintf(to, ".TP\n.B ");
        man_text(to, text);
        fputc('\n', to);
        man_text(to, options[i].text);
        fputc('\n', to);
    }
}

static void man_command(FILE *to, const struct command *c)
{
    fprintf(to, ".SS ");
    man_text(to, c->name);
    fprintf(to, " %s\n", c->args);
    man_text(to, c->summary);
    fputs("\n.PP\n.nf\n", to);
    if (c->details != NULL) {
        man_text(to, c->details);
        fputc('\n', to);
    }
    fputs(".fi\n", to);
    man_options(to, c->options);
    fputs(".PP\nExamples:\n.nf\n", to);
    man_text(to, c->examples);
    fputs("\n.fi\n", to);
}

void help_print_man(FILE *to)
{
    fprintf(to, ".TH BORGCTL 1 \"\" \"borgctl %s\" \"User Commands\"\n.SH NAME\n", BORG_VERSION);
    fprintf(to, "borgctl \\- hand jobs to a cell, watch them, and keep a cell of your own\n"
                ".SH SYNOPSIS\n.B borgctl\n[OPTIONS] COMMAND [ARGUMENTS]\n.SH OPTIONS\n");
    man_options(to, options_global);
    fprintf(to, ".SH COMMANDS\n");
    for (const struct command *c = cli_commands; c->name != NULL; c++)
        man_command(to, c);
    fprintf(to, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
        fprintf(to, ".TP\n.B %d\n", exits[i].number);
        man_text(to, exits[i].text);
        fputc('\n', to);
    }
    fprintf(to, ".SH ENVIRONMENT\n.TP\n.B BORG_CELL\nThe cell when there is no \\-\\-cell.\n"
                ".TP\n.B NO_COLOR\nNo colours, even on a terminal.\n");
}

int cmd_help(struct cli *cli)
{
    if (cli_flag(cli, OPT_MAN)) {
        help_print_man(stdout);
        return CLI_OK;
    }
    if ((cli_flag(cli, OPT_SCHEMA) || cli_flag(cli, OPT_PAGE)) &&
        (cli->arg_count != 1 || strcmp(cli->args[0], "submit") != 0)) {
        struct err err;
        err_set(&err, ERR_INVALID, "--schema and --page are options of `borgctl help submit`");
        cli_fail(&err);
        return CLI_USAGE;
    }
    if (cli->arg_count == 0) {
        help_print(stdout);
        return CLI_OK;
    }
    size_t words;
    const struct command *c = command_find(cli->args, cli->arg_count, &words);
    if (c == NULL && cli->arg_count == 1 && command_is_group(cli->args[0])) {
        help_print_group(stdout, cli->args[0]);
        return CLI_OK;
    }
    if (c == NULL || words != cli->arg_count) {
        struct err err;
        err_set(&err, ERR_INVALID, "there is no command `%s%s%s`; see borgctl help", cli->args[0],
                cli->arg_count > 1 ? " " : "", cli->arg_count > 1 ? cli->args[1] : "");
        cli_fail(&err);
        return CLI_USAGE;
    }
    if (cli_flag(cli, OPT_SCHEMA))
        jobfile_schema(stdout);
    else if (cli_flag(cli, OPT_PAGE))
        jobfile_page(stdout);
    else
        help_print_command(stdout, c);
    return CLI_OK;
}
