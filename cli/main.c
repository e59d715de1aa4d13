/*
 * main.c - main function of borgctl: parse the command line, run the command.
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
/* The process ends without waiting for connections that are still closing, so their memory counts
 * as leaked. The unit tests check the libraries for leaks. */
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
