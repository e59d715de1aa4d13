/*
 * test_trace.c - workloads in CSV: what is read, and every way a line can be wrong.
 */
#include "trace.h"

#include "attributes.h"

#include "testlib.h"

#include <zlib.h>

#define MACHINES "machine_id,cpu_milli,ram_mib,disk_mib,gpu_milli,attributes,failure_domain\n"
#define TASKS \
    "job_id,task_index,priority,qos,arrival_s,duration_s,cpu_milli,ram_mib,disk_mib,gpu_milli," \
    "constraints\n"

static const char *file_of(const char *dir, const char *name, const char *text)
{
    const char *path = t_path(dir, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

static const struct wrong {
    const char *text;
    const char *told; /* after the path */
} wrong_machines[] = {
    {"", ":1: the first line must be machine_id,"},
    {"machine_id\n", ":1: the first line must be"},
    {TASKS, ":1: the first line must be"},
    {MACHINES "m0,1,1,1,0,\n", ":2: 6 fields, expected 7"},
    {MACHINES "m0,1,1,1,0,,r,x\n", ":2: 8 fields, expected 7"},
    {MACHINES "\n", ":2: 1 fields, expected 7"},
    {MACHINES "m0,1,1,1,0,,r", ":2: the file ends in the middle of a line"},
    {MACHINES "m0,1,1,1,0,,r\rm1,1,1,1,0,,r\n", ":2: byte 0x0d"},
    {"\xef\xbb" MACHINES "m0,1,1,1,0,,r\n", ":1: byte 0xef"},
    {MACHINES "m0,1,1,1,0,\xc3\xa4,r\n", ":2: byte 0xc3"},
    {MACHINES ",1,1,1,0,,r\n", ":2: machine_id: \"\" is not"},
    {MACHINES "M0,1,1,1,0,,r\n", ":2: machine_id: \"M0\" is not"},
    {MACHINES "m0123456789012345678901234567890123456789x,1,1,1,0,,r\n", ":2: machine_id: "},
    {MACHINES "m0,,1,1,0,,r\n", ":2: cpu_milli: \"\" is not a whole number from 0"},
    {MACHINES "m0,-1,1,1,0,,r\n", ":2: cpu_milli: \"-1\" is not"},
    {MACHINES "m0,1.5,1,1,0,,r\n", ":2: cpu_milli: \"1.5\" is not"},
    {MACHINES "m0, 1,1,1,0,,r\n", ":2: cpu_milli: \" 1\" is not"},
    {MACHINES "m0,+1,1,1,0,,r\n", ":2: cpu_milli: \"+1\" is not"},
    {MACHINES "m0,1,0x10,1,0,,r\n", ":2: ram_mib: \"0x10\" is not"},
    {MACHINES "m0,1,1073741825,1,0,,r\n", ":2: ram_mib: \"1073741825\" is not"},
    {MACHINES "m0,1,99999999999999999999,1,0,,r\n", ":2: ram_mib: \"9999"},
    {MACHINES "m0,1,1,x,0,,r\n", ":2: disk_mib: \"x\""},
    {MACHINES "m0,1,1,1,g,,r\n", ":2: gpu_milli: \"g\""},
    {MACHINES "m0,1,1,1,0,a,r\n", ":2: attributes: \"a\" is not KEY=VALUE"},
    {MACHINES "m0,1,1,1,0,a=1;,r\n", ":2: attributes: \"\" is not KEY=VALUE"},
    {MACHINES "m0,1,1,1,0,a=1;A=2,r\n", ":2: attributes: \"A=2\" is not KEY=VALUE"},
    {MACHINES "m0,1,1,1,0,a=,r\n", ":2: attributes: \"a=\": a value is"},
    {MACHINES "m0,1,1,1,0,machine=x,r\n", ":2: attributes: \"machine=x\": \"machine\" is the"},
    {MACHINES "m0,1,1,1,0,a=1;b=2;a=3,r\n", ":2: attributes: a second a"},
    {MACHINES "m0,1,1,1,0,failure_domain=x,\n", ":2: attributes: a second failure_domain"},
    {MACHINES "m0,1,1,1,0,,r 1\n", ":2: failure_domain: \"r 1\" is not"},
    {MACHINES "m0,1,1,1,0,,r\nm1,1,1,1,0,,r\nm0,1,1,1,0,,r\n", ":4: a second machine \"m0\""},
};

static const struct wrong wrong_tasks[] = {
    {MACHINES, ":1: the first line must be job_id,"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0\n", ":2: 10 fields, expected 11"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,,\n", ":2: 12 fields, expected 11"},
    {TASKS "j j,0,9,prod,0,-1,1,1,0,0,\n", ":2: job_id: \"j j\" is not"},
    {TASKS "j,-1,9,prod,0,-1,1,1,0,0,\n", ":2: task_index: \"-1\""},
    {TASKS "j,0,451,prod,0,-1,1,1,0,0,\n", ":2: priority: \"451\" is not a whole number from 0"},
    {TASKS "j,0,9,prod,-5,-1,1,1,0,0,\n", ":2: arrival_s: \"-5\""},
    {TASKS "j,0,9,prod,0,-2,1,1,0,0,\n", ":2: duration_s: \"-2\" is not a whole number from -1"},
    {TASKS "j,0,9,prod,0,--1,1,1,0,0,\n", ":2: duration_s: \"--1\""},
    {TASKS "j,0,9,prod,0,-,1,1,0,0,\n", ":2: duration_s: \"-\""},
    {TASKS "j,0,9,prod,0,-1,c,1,0,0,\n", ":2: cpu_milli: \"c\""},
    {TASKS "j,0,9,prod,0,-1,1,r,0,0,\n", ":2: ram_mib: \"r\""},
    {TASKS "j,0,9,prod,0,-1,1,1,d,0,\n", ":2: disk_mib: \"d\""},
    {TASKS "j,0,9,prod,0,-1,1,1,0,g,\n", ":2: gpu_milli: \"g\""},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,x\n", ":2: constraints: \"x\" says nothing of x"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,x=1;\n", ":2: constraints: \"\" does not start with"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,x=\n", ":2: constraints: "},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,x>=y\n", ":2: constraints: "},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,x<3\n",
     ":2: constraints: \"x<3\": a trace may use only the operators"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,distinct=machine\n",
     ":2: constraints: \"distinct=machine\": expected"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,distinct=rack:1\n",
     ":2: constraints: \"distinct=rack:1\": expected"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,limit=failure_domain:0\n", ":2: constraints: \"limit=fail"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,spread=failure_domain:2x\n", ":2: constraints: \"spread=fai"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,distinct=machine:1;distinct=machine:2\n",
     ":2: constraints: \"distinct=machine:2\": it occurs twice"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,conflict=b\n",
     ":2: constraints: \"conflict=b\": expected conflict=JOB:K"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,conflict=:1\n", ":2: constraints: \"conflict=:1\": expected"},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,\nj,1,9,prod,0,-1,1,1,0,0,x\n", ":3: constraints: \"x\""},
    {TASKS "j,0,9,prod,0,-1,1,1,0,0,\nk,0,9,prod,0,-1,1,1,0,0\n", ":3: 10 fields"},
};

static void expect_told(const struct wrong *wrong, bool tasks)
{
    struct trace trace = {0};
    char told[600];
    const char *path = file_of(t_dir(), "file.csv", wrong->text);
    if (tasks)
        T_REFUSED(trace_read_tasks(&trace, path, 0, &t_err), ERR_INVALID);
    else
        T_REFUSED(trace_read_machines(&trace, path, &t_err), ERR_INVALID);
    snprintf(told, sizeof told, "%s%s", path, wrong->told);
    ck_assert_msg(strncmp(t_err.msg, told, strlen(told)) == 0, "told \"%s\", not \"%s\"", t_err.msg,
                  told);
    trace_release(&trace);
}

START_TEST(a_malformed_line_of_machines_is_told_with_its_place)
{
    expect_told(&wrong_machines[_i], false);
}
END_TEST

START_TEST(a_malformed_line_of_tasks_is_told_with_its_place)
{
    expect_told(&wrong_tasks[_i], true);
}
END_TEST

START_TEST(a_line_without_end_is_refused_and_not_kept)
{
    CLEANUP(buf_release) struct buf text = {0};
    struct trace trace = {0};
    buf_printf(&text, "%s", MACHINES);
    for (int i = 0; i <= TRACE_LINE_MAX; i++)
        buf_printf(&text, "m");
    buf_printf(&text, "\n");
    T_REFUSED(trace_read_machines(&trace, file_of(t_dir(), "m.csv", buf_text(&text)), &t_err),
              ERR_INVALID);
    T_CONTAINS(t_err.msg, ":2: a line of more than 4096 bytes");
    trace_release(&trace);
}
END_TEST

START_TEST(what_a_spreadsheet_writes_is_read)
{
    struct trace t = {0};
    T_OK(trace_read_machines(
        &t,
        file_of(t_dir(), "m.csv",
                "\xef\xbb\xbf"
                "machine_id,cpu_milli,ram_mib,disk_mib,gpu_milli,attributes,failure_domain\r\n"
                "m0,1,2,3,0,,rack0\r\n"),
        &t_err));
    ck_assert_uint_eq(t.machine_count, 1);
    trace_release(&t);
}
END_TEST

START_TEST(amounts_and_what_is_there_are_read)
{
    struct trace t = {0};
    const char *dir = t_dir();
    file_of(dir, "machines.csv",
            MACHINES "m0,16000,32676,8388608,2000,platform=B;ssd=1,rack0\n5,1,2,0,0,,\n");
    file_of(dir, "tasks.csv",
            TASKS "j1,0,9,prod/3,7,-1,4000,9760,3560,500,distinct=machine:1\n"
                  "j2,0,0,,0,60,0,1,2,0,\n");
    T_OK(trace_read_dir(&t, dir, 0, &t_err));
    ck_assert_uint_eq(t.machine_count, 2);
    ck_assert_str_eq(t.machines[0].id, "m0");
    ck_assert_int_eq(t.machines[0].cpu_milli, 16000);
    ck_assert_int_eq(t.machines[0].ram_mib, 32676);
    ck_assert_int_eq(t.machines[0].disk_mib, 8388608);
    ck_assert_int_eq(t.machines[0].gpu_milli, 2000);
    const struct words *attributes = &t.machines[0].attributes;
    ck_assert_uint_eq(attributes->count, 3);
    ck_assert_str_eq(attributes_get(attributes, "platform"), "B");
    ck_assert_str_eq(attributes_get(attributes, "ssd"), "1");
    ck_assert_str_eq(attributes_get(attributes, "failure_domain"), "rack0");
    ck_assert_uint_eq(t.machines[1].attributes.count, 0);
    ck_assert_uint_eq(t.job_count, 2);
    ck_assert_uint_eq(t.task_count, 2);
    ck_assert_uint_eq(t.priority_max, 9);
    const struct trace_job *j = &t.jobs[0];
    ck_assert_str_eq(j->id, "j1");
    ck_assert_str_eq(j->constraints.text, "distinct=machine:1");
    ck_assert_uint_eq(j->constraints.machine_max, 1);
    ck_assert_uint_eq(j->line, 2);
    ck_assert_uint_eq(j->priority, 9);
    ck_assert_int_eq(j->arrival_s, 7);
    ck_assert_int_eq(j->cpu_milli, 4000);
    ck_assert_int_eq(j->ram_mib, 9760);
    ck_assert_int_eq(j->disk_mib, 3560);
    ck_assert_int_eq(j->gpu_milli, 500);
    ck_assert(j->has_qos);
    ck_assert_int_eq(t.durations_s[j->first], -1);
    ck_assert(!t.jobs[1].has_qos);
    ck_assert_int_eq(t.durations_s[t.jobs[1].first], 60);
    trace_release(&t);
}
END_TEST

START_TEST(tasks_that_ask_for_the_same_in_a_row_are_one_job)
{
    struct trace t = {0};
    const char *path = file_of(t_dir(), "t.csv",
                               TASKS "a,0,1,,0,-1,1,1,0,0,\na,1,1,,0,9,1,1,0,0,\n"
                                     "a,2,1,,0,-1,2,1,0,0,\n" /* more cpu */
                                     "a,3,1,,0,-1,2,1,0,0,x=1\n"
                                     "b,0,1,,0,-1,2,1,0,0,x=1\n"
                                     "a,4,1,,0,-1,1,1,0,0,\n");
    static const uint32_t counts[] = {2, 1, 1, 1, 1};
    T_OK(trace_read_tasks(&t, path, 0, &t_err));
    ck_assert_uint_eq(t.job_count, ARRAY_SIZE(counts));
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        ck_assert_uint_eq(t.jobs[i].count, counts[i]);
    ck_assert_int_eq(t.durations_s[0], -1);
    ck_assert_int_eq(t.durations_s[1], 9);
    ck_assert_uint_eq(t.jobs[4].first, 5);
    ck_assert_uint_eq(t.task_count, 6);
    trace_release(&t);
}
END_TEST

START_TEST(constraints_are_taken_apart)
{
    struct trace_constraints c;
    CLEANUP(buf_release) struct buf text = {0};
    T_OK(trace_constraints_parse("platform=B;ssd!=1;kernel>=3;gpu in A|B-2;distinct=machine:2;"
                                 "limit=failure_domain:3;spread=failure_domain:4;conflict=web:0;"
                                 "conflict=db:5",
                                 &c, &t_err));
    for (uint32_t i = 0; i < c.clauses.count; i++) {
        buf_printf(&text, "%s", i == 0 ? "" : "; ");
        clause_print(&text, &c.clauses.items[i]);
        ck_assert_uint_eq(c.clauses.items[i].weight, 0);
    }
    ck_assert_str_eq(buf_text(&text), "platform = B; ssd != 1; kernel >= 3; gpu in A,B-2");
    ck_assert_uint_eq(c.machine_max, 2);
    ck_assert_uint_eq(c.domain_max, 3);
    ck_assert_uint_eq(c.domains_min, 4);
    ck_assert_uint_eq(c.conflict_count, 2);
    ck_assert_str_eq(c.conflicts[0].job, "web");
    ck_assert_uint_eq(c.conflicts[0].max, 0);
    ck_assert_str_eq(c.conflicts[1].job, "db");
    ck_assert_uint_eq(c.conflicts[1].max, 5);
    trace_constraints_release(&c);
    T_OK(trace_constraints_parse("", &c, &t_err));
    ck_assert_uint_eq(c.clauses.count, 0);
    trace_constraints_release(&c);
}
END_TEST

START_TEST(a_limit_reads_no_further)
{
    struct trace t = {0};
    const char *path =
        file_of(t_dir(), "t.csv", TASKS "a,0,1,,0,-1,1,1,0,0,\na,1,1,,0,9,1,1,0,0,\nrubbish\n");
    T_OK(trace_read_tasks(&t, path, 2, &t_err));
    ck_assert_uint_eq(t.task_count, 2);
    T_REFUSED(trace_read_tasks(&t, path, 3, &t_err), ERR_INVALID);
    trace_release(&t);
}
END_TEST

START_TEST(gzipped_files_are_read_and_broken_ones_refused)
{
    struct trace t = {0};
    const char *dir = t_dir();
    const char *path = t_path(dir, "tasks.csv.gz");
    CLEANUP(buf_release) struct buf text = {0};
    buf_printf(&text, "%s", TASKS);
    for (int i = 0; i < 5000; i++)
        buf_printf(&text, "j%d,0,1,,0,-1,%d,1,0,0,\n", i, i * 7919 % 10007);
    gzFile gz = gzopen(path, "w");
    ck_assert_int_eq(gzwrite(gz, text.bytes, (unsigned)text.size), (int)text.size);
    ck_assert_int_eq(gzclose(gz), Z_OK);
    file_of(dir, "machines.csv", MACHINES);
    T_OK(trace_read_dir(&t, dir, 0, &t_err));
    ck_assert_uint_eq(t.task_count, 5000);
    ck_assert_int_eq(truncate(path, 4000), 0);
    ck_assert_int_ne(trace_read_tasks(&t, path, 0, &t_err), 0);
    T_CONTAINS(t_err.msg, path);
    trace_release(&t);
}
END_TEST

START_TEST(a_missing_file_is_named)
{
    struct trace t = {0};
    const char *dir = t_dir();
    T_REFUSED(trace_read_machines(&t, t_path(dir, "none.csv"), &t_err), ERR_IO);
    T_CONTAINS(t_err.msg, "none.csv: No such file");
    T_REFUSED(trace_read_dir(&t, dir, 0, &t_err), ERR_NOT_FOUND);
    T_CONTAINS(t_err.msg, "machines.csv.gz");
    trace_release(&t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace");
    TCase *c = tcase_create("trace");
    tcase_add_loop_test(c, a_malformed_line_of_machines_is_told_with_its_place, 0,
                        ARRAY_SIZE(wrong_machines));
    tcase_add_loop_test(c, a_malformed_line_of_tasks_is_told_with_its_place, 0,
                        ARRAY_SIZE(wrong_tasks));
    tcase_add_test(c, a_line_without_end_is_refused_and_not_kept);
    tcase_add_test(c, what_a_spreadsheet_writes_is_read);
    tcase_add_test(c, amounts_and_what_is_there_are_read);
    tcase_add_test(c, tasks_that_ask_for_the_same_in_a_row_are_one_job);
    tcase_add_test(c, constraints_are_taken_apart);
    tcase_add_test(c, a_limit_reads_no_further);
    tcase_add_test(c, gzipped_files_are_read_and_broken_ones_refused);
    tcase_add_test(c, a_missing_file_is_named);
    suite_add_tcase(s, c);
    return t_main(s);
}
