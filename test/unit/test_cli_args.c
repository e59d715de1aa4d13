/*
 * test_cli_args.c - the command line: what is accepted, what is refused with which message, and the
 * consistency of the tables of commands and options.
 */
#include "cli.h"
#include "nearest.h"

#include "testlib.h"

enum { WORDS_MAX = 16 };

/* Split at spaces and parse. */
static int parse(struct cli *cli, const char *line)
{
    static char text[512];
    static char *argv[WORDS_MAX + 1];
    int argc = 0;
    str_copy(text, sizeof text, line);
    argv[argc++] = (char *)(uintptr_t) "borgctl";
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word != NULL && argc < WORDS_MAX;
         word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    argv[argc] = NULL;
    return cli_parse(cli, argc, argv, &t_err);
}

struct refusal {
    const char *line;
    const char *message;
};

static const struct refusal refusals[] = {
    {"", "no command is given; see borgctl help"},
    {"frobnicate", "there is no command `frobnicate`; see borgctl help"},
    {"jbos", "there is no command `jbos`; did you mean `jobs`?"},
    {"submti x", "there is no command `submti`; did you mean `submit`?"},
    {"cell", "`cell` needs one more word; see borgctl help cell"},
    {"cell upp", "there is no command `cell upp`; did you mean `cell up`?"},
    {"jobs --frobnicate", "there is no option --frobnicate; see borgctl help"},
    {"jobs --tiemout 3", "there is no option --tiemout; did you mean --timeout?"},
    {"jobs -z", "there is no option -z; see borgctl help"},
    {"jobs --follow", "`jobs` has no option --follow; see borgctl help jobs"},
    {"jobs a b", "`jobs` takes no argument \"b\"; see borgctl help jobs"},
    {"kill", "`kill` needs JOB; see borgctl help kill"},
    {"-o xml jobs", "-o: \"xml\" is neither table nor json"},
    {"jobs -o", "-o needs a value"},
    {"jobs --cell", "--cell needs a value"},
    {"jobs --quiet=yes", "--quiet takes no value"},
    {"jobs --timeout 0", "--timeout: \"0\" is not a whole number from 1 to 86400"},
    {"jobs --timeout -5", "--timeout: \"-5\" is not a whole number"},
    {"jobs --timeout 99999999999999999999", "is not a whole number"},
    {"jobs --timeout 1.5", "--timeout: \"1.5\" is not a whole number"},
};

START_TEST(a_wrong_command_line_is_refused_with_the_mistake)
{
    static struct cli cli;
    T_REFUSED(parse(&cli, refusals[_i].line), ERR_INVALID);
    T_CONTAINS(t_err.msg, refusals[_i].message);
}
END_TEST

START_TEST(options_may_stand_anywhere)
{
    static struct cli cli;
    static const char *const lines[] = {"-o json --cell /x logs web/1 -f --tail 5",
                                        "logs --tail=5 -fo json web/1 --cell=/x",
                                        "--tail 5 logs -f web/1 -ojson --cell /x"};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        uint64_t tail;
        T_OK(parse(&cli, lines[i]));
        ck_assert_str_eq(cli.command->name, "logs");
        ck_assert_uint_eq(cli.arg_count, 1);
        ck_assert_str_eq(cli.args[0], "web/1");
        ck_assert_int_eq(cli.output, OUTPUT_JSON);
        ck_assert_str_eq(cli_value(&cli, OPT_CELL), "/x");
        ck_assert(cli_flag(&cli, OPT_FOLLOW));
        ck_assert(!cli_flag(&cli, OPT_STDERR));
        T_OK(cli_number(&cli, OPT_TAIL, 1, 10, 0, &tail, &t_err));
        ck_assert_uint_eq(tail, 5);
        T_REFUSED(cli_number(&cli, OPT_TAIL, 1, 4, 0, &tail, &t_err), ERR_INVALID);
    }
}
END_TEST

START_TEST(commands_of_two_words_are_found)
{
    static struct cli cli;
    T_OK(parse(&cli, "cell --replicas 3 up --dir d"));
    ck_assert_str_eq(cli.command->name, "cell up");
    ck_assert_uint_eq(cli.arg_count, 0);
    ck_assert_str_eq(cli_value(&cli, OPT_DIR), "d");
}
END_TEST

START_TEST(after_two_dashes_no_word_is_an_option)
{
    static struct cli cli;
    T_OK(parse(&cli, "query -- --fresh"));
    ck_assert_str_eq(cli.args[0], "--fresh");
    ck_assert(!cli_flag(&cli, OPT_FRESH));
}
END_TEST

START_TEST(the_last_value_counts_and_all_are_kept)
{
    static struct cli cli;
    size_t variables = 0;
    T_OK(parse(&cli, "submit x --tla-str a=1 --tla-str b=2 --timeout 5 --timeout 7"));
    ck_assert_uint_eq(cli.timeout_ms, 7000);
    for (size_t i = 0; i < cli.value_count; i++)
        variables += cli.values[i].option == OPT_TLA_STR;
    ck_assert_uint_eq(variables, 2);
}
END_TEST

START_TEST(help_and_version_need_nothing_else)
{
    static struct cli cli;
    T_OK(parse(&cli, "--help"));
    ck_assert_ptr_null(cli.command);
    T_OK(parse(&cli, "kill --help"));
    ck_assert_str_eq(cli.command->name, "kill");
    T_OK(parse(&cli, "--version"));
    ck_assert(cli_flag(&cli, OPT_VERSION));
}
END_TEST

static void render_help(const struct command *c, char **ret)
{
    size_t size = 0;
    FILE *to = open_memstream(ret, &size);
    if (c != NULL)
        help_print_command(to, c);
    else
        help_print(to);
    fclose(to);
}

START_TEST(every_command_is_complete_and_documented)
{
    char *all;
    render_help(NULL, &all);
    T_CONTAINS(all, "outcome unknown");
    for (const struct command *c = cli_commands; c->name != NULL; c++) {
        char *text;
        size_t words;
        static char name[64];
        char *parts[2];
        str_copy(name, sizeof name, c->name);
        char *rest = NULL;
        parts[0] = strtok_r(name, " ", &rest);
        parts[1] = strtok_r(NULL, " ", &rest);
        ck_assert_ptr_eq(command_find((const char *const *)parts, parts[1] != NULL ? 2 : 1, &words),
                         c);
        ck_assert_ptr_nonnull(c->run);
        ck_assert_uint_le(c->args_min, c->args_max);
        ck_assert_uint_le(c->args_max, CLI_ARGS_MAX);
        ck_assert((c->args[0] != '\0') == (c->args_max > 0));
        T_CONTAINS(all, c->summary);
        render_help(c, &text);
        T_CONTAINS(text, "examples:\n  borgctl ");
        T_CONTAINS(text, c->name);
        free(text);
    }
    free(all);
}
END_TEST

START_TEST(exit_codes_follow_the_errors)
{
    ck_assert_int_eq(cli_exit_of(ERR_OK), 0);
    ck_assert_int_eq(cli_exit_of(ERR_NOT_FOUND), 1);
    ck_assert_int_eq(cli_exit_of(ERR_EXISTS), 1);
    ck_assert_int_eq(cli_exit_of(ERR_DENIED), 1);
    ck_assert_int_eq(cli_exit_of(ERR_UNAVAILABLE), 3);
    ck_assert_int_eq(cli_exit_of(ERR_NOT_LEADER), 3);
    ck_assert_int_eq(cli_exit_of(ERR_UNKNOWN_OUTCOME), 4);
}
END_TEST

START_TEST(near_words_are_found_and_far_ones_not)
{
    static const char *const words[] = {"command", "env", "resources"};
    ck_assert_str_eq(word_nearest("comand", words, 3), "command");
    ck_assert_str_eq(word_nearest("resuorces", words, 3), "resources");
    ck_assert_str_eq(word_nearest("enx", words, 3), "env");
    ck_assert_ptr_null(word_nearest("picture", words, 3));
    ck_assert_ptr_null(word_nearest("a-word-longer-than-any-that-could-be-meant-here", words, 3));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("args");
    TCase *tcase = tcase_create("args");
    tcase_add_loop_test(tcase, a_wrong_command_line_is_refused_with_the_mistake, 0,
                        ARRAY_SIZE(refusals));
    tcase_add_test(tcase, options_may_stand_anywhere);
    tcase_add_test(tcase, commands_of_two_words_are_found);
    tcase_add_test(tcase, after_two_dashes_no_word_is_an_option);
    tcase_add_test(tcase, the_last_value_counts_and_all_are_kept);
    tcase_add_test(tcase, help_and_version_need_nothing_else);
    tcase_add_test(tcase, every_command_is_complete_and_documented);
    tcase_add_test(tcase, exit_codes_follow_the_errors);
    tcase_add_test(tcase, near_words_are_found_and_far_ones_not);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
