/*
 * main.c - borgctl: parse, look the command up, run it.
 */
#include "cli.h"
#include "core_dumps.h"
#include "log.h"
#include "process.h"
#include "text.h"

#include <signal.h>
#include <unistd.h>

static void main_on_interrupt(int sig UNUSED)
{
    _exit(CLI_INTERRUPTED);
}

#ifdef __SANITIZE_ADDRESS__
/* A call ends with its answer: connections that still say goodbye are not taken apart first, so
 * what they hold is no leak. The libraries are looked at in the unit tests. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static int run(struct cli *cli, int argc, char **argv)
{
    struct err err;
    if (cli_parse(cli, argc, argv, &err) < 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    if (cli_flag(cli, OPT_VERSION)) {
        print("borgctl %s\n", BORG_VERSION);
        return CLI_OK;
    }
    if (cli_flag(cli, OPT_HELP)) {
        if (cli->command != NULL)
            help_print_command(stdout, cli->command);
        else
            help_print(stdout);
        return CLI_OK;
    }
    return cli->command->run(cli);
}

int main(int argc, char **argv)
{
    static struct cli cli;
    struct err err;
    core_dumps_allow(false);
    process_open_standard_files();
    text_begin();
    signal(SIGINT, main_on_interrupt);
    signal(SIGPIPE, SIG_IGN);
    log_open(LOG_ERROR, "borgctl");
    int code = run(&cli, argc, argv);
    if (cli.misused && code == CLI_REFUSED)
        code = CLI_USAGE;
    if (stdout_check(&err) < 0 && code == CLI_OK)
        return cli_fail(&err);
    return code;
}
