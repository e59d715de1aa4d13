/*
 * test_borglet_logs.c - reading the output of tasks through a whole borglet: permissions and
 * contents.
 */
#include "agent_rig.h"

START_TEST(a_log_is_read_from_the_start_and_from_its_tail)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "seq 1 50000; echo oops >&2");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_EXITED));
    read_log(&r, (struct wire_logs){.task = ref(0).task.v, .tail_bytes = UINT64_MAX});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_OK);
    ck_assert_uint_eq(r.log_size, 288894);
    ck_assert_str_eq(r.log + r.log_size - 12, "49999\n50000\n");
    read_log(&r, (struct wire_logs){.task = ref(0).task.v, .attempt = 1, .tail_bytes = 6});
    T_RUN(&r.loop, r.answered);
    ck_assert_str_eq(r.log, "50000\n");
    /* From an offset, and from beyond the end. */
    read_log(&r, (struct wire_logs){.task = ref(0).task.v, .from = 288894 - 12});
    T_RUN(&r.loop, r.answered);
    ck_assert_str_eq(r.log, "49999\n50000\n");
    ck_assert_uint_eq(r.first_offset, 288894 - 12);
    read_log(&r, (struct wire_logs){.task = ref(0).task.v, .from = UINT64_MAX});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_OK);
    ck_assert_uint_eq(r.log_size, 0);
    /* The cell has forgotten it, but the log is kept. */
    send_other(&r, 0, INTENT_FORGET, 0);
    read_log(&r, (struct wire_logs){
                     .task = ref(0).task.v, .err = true, .follow = true, .tail_bytes = UINT64_MAX});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_OK);
    ck_assert_str_eq(r.log, "oops\n");
    rig_release(&r);
}
END_TEST

START_TEST(a_followed_log_arrives_as_it_is_written_and_ends_with_the_task)
{
    char go[600];
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; exit 1");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    read_log(&r,
             (struct wire_logs){.task = ref(0).task.v, .follow = true, .tail_bytes = UINT64_MAX});
    T_RUN(&r.loop, strcmp(r.log, "one\n") == 0);
    ck_assert(!r.answered);
    snprintf(go, sizeof go, "%s/tasks/web.0.1.1/work/go", r.dir);
    fclose(fopen(go, "w"));
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_OK);
    ck_assert_str_eq(r.log, "one\ntwo\n");
    rig_release(&r);
}
END_TEST

static void send_identities(struct rig *r, uint64_t index, const char *user, uint32_t rights)
{
    struct wire_identity row = {.rights = rights};
    struct wire_identities told = {
        .index = index, .identities = &row, .identity_count = rights != 0};
    CLEANUP(buf_release) struct buf body = {0};

    snprintf(row.identity, sizeof row.identity, "user/%s", user);
    wire_pack_identities(&body, &told);
    ck_assert_int_eq(rpc_notify(link_wait(r)->conn, WIRE_IDENTITIES, body.bytes, body.size), 0);
}

/* Return the answer to this user when he reads the log of ada's task. */
static enum err_code code_for(struct rig *r, const char *user)
{
    if (r->reader != NULL)
        rpc_close(r->reader);
    T_RUN(&r->loop, r->reader == NULL);
    tls_context_close(r->user);
    r->user = t_tls(r->pki, user);
    read_log(r, (struct wire_logs){.task = ref(0).task.v, .tail_bytes = UINT64_MAX});
    T_RUN(&r->loop, r->answered);
    ck_assert_uint_eq(r->log_size, r->answer.code == ERR_OK ? 3 : 0);
    return r->answer.code;
}

START_TEST(a_log_is_read_by_its_user_and_by_readers_and_operators)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo hi");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_EXITED));
    ck_assert_int_eq(code_for(&r, "user/ada"), ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/root"), ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/eve"), ERR_DENIED);
    ck_assert_str_eq(r.answer.msg,
                     "job \"web\": it is of user \"ada\": only that user, a reader and "
                     "an operator of the cell may read its logs");
    send_identities(&r, 10, "eve", BIT(RIGHT_READER));
    T_RUN(&r.loop, code_for(&r, "user/eve") == ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/bob"), ERR_DENIED);
    send_identities(&r, 9, "bob", BIT(RIGHT_OPERATOR)); /* from a replica that lags */
    send_identities(&r, 11, "eve", BIT(RIGHT_OPERATOR));
    T_RUN(&r.loop, code_for(&r, "user/eve") == ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/bob"), ERR_DENIED);
    send_identities(&r, 12, "eve", 0);
    T_RUN(&r.loop, code_for(&r, "user/eve") == ERR_DENIED);
    rig_release(&r);
}
END_TEST

START_TEST(a_restarted_borglet_knows_the_readers)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo hi");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_EXITED));
    send_identities(&r, 10, "eve", BIT(RIGHT_READER));
    T_RUN(&r.loop, code_for(&r, "user/eve") == ERR_OK);
    rpc_close(r.reader);
    T_RUN(&r.loop, r.reader == NULL);
    agent_down(&r);
    agent_up(&r);
    ck_assert_int_eq(code_for(&r, "user/eve"), ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/bob"), ERR_DENIED);
    rig_release(&r);
}
END_TEST

START_TEST(identities_are_stored_completely_or_not_at_all)
{
    const char *dir = t_dir();
    char path[600];
    struct identities *known = identities_open(dir);
    struct wire_identities told = {.index = 7, .identity_count = 1};
    told.identities = xcalloc(1, sizeof *told.identities);
    told.identities[0] = (struct wire_identity){.identity = "borglet/m7", .revoked_ms = 1000};
    identities_take(known, &told);
    identities_close(known);
    known = identities_open(dir);
    ck_assert(identities_revoked(known, "borglet/m7", 1000));
    ck_assert(!identities_revoked(known, "borglet/m7", 1001));
    ck_assert(!identities_revoked(known, "borglet/m8", 0));
    ck_assert(identities_may_read(known, "root"));
    identities_close(known);
    snprintf(path, sizeof path, "%s/identities", dir);
    FILE *file = fopen(path, "r+");
    fseek(file, 12, SEEK_SET);
    fputc('x', file);
    fclose(file);
    known = identities_open(dir);
    ck_assert(!identities_revoked(known, "borglet/m7", 0));
    identities_close(known);
}
END_TEST

START_TEST(a_refusal_of_a_missing_log_lists_the_existing_ones)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 3, 100, "true");
    T_RUN(&r.loop, told_kind(replica, 3, REPORT_EXITED));
    read_log(&r, (struct wire_logs){.task = ref(4).task.v});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_NOT_FOUND);
    T_CONTAINS(r.answer.msg, "there are: web/3 attempt 1");
    read_log(&r, (struct wire_logs){.task = ref(3).task.v, .job = "other"});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_NOT_FOUND);
    T_CONTAINS(r.answer.msg, "there is none of that job");
    rig_release(&r);
}
END_TEST

START_TEST(a_reader_that_disconnects_and_one_too_many_are_harmless)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "while :; do echo x; sleep 0.01; done");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    struct wire_logs follow = {.task = ref(0).task.v, .follow = true};
    read_log(&r, follow);
    T_RUN(&r.loop, r.log_size > 4);
    read_log(&r, follow);
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_STATE);
    rpc_close(r.reader);
    T_RUN(&r.loop, r.reader_closed);
    int beats = replica->beats;
    T_RUN(&r.loop, replica->beats > beats + 1);
    rig_release(&r);
}
END_TEST

/* Replacements of a log file that a task may make. */
static const struct {
    const char *how, *told;
} log_tampers[] = {
    {"rm spec; mkfifo spec", "a FIFO is in the place of \"spec\""},
    {"rm spec; ln -s /etc/passwd spec", "a symbolic link is in the place of \"spec\""},
    {"rm spec; mkdir spec", "a directory is in the place of \"spec\""},
    {"truncate -s 1T spec", "\"spec\" is larger than any"},
    {"rm spec", "there is no \"spec\""},
    {"rm out.0; mkfifo out.0", "a FIFO is in the place of \"out.0\""},
    {"rm out.0; ln -s /etc/passwd out.0", "a symbolic link is in the place of \"out.0\""},
    {"rm out.0; ln spec out.0", "another file is in the place of \""},
    {"truncate -s 1T out.0", "\"out.0\" is larger than any"},
    {"rm out.0; mkfifo out.7", "a FIFO is in the place of \"out.7\""},
};

START_TEST(a_log_that_was_tampered_with_is_refused_and_blocks_nothing)
{
    char command[700];
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo one; exec sleep 1000");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    /* Its segment exists. */
    snprintf(command, sizeof command, "%s/tasks/web.0.1.1/out.0", r.dir);
    struct stat st;
    T_RUN(&r.loop, stat(command, &st) == 0 && st.st_size == 4);
    snprintf(command, sizeof command, "cd %s/tasks/web.0.1.1; %s", r.dir, log_tampers[_i].how);
    ck_assert_int_eq(system(command), 0);
    read_log(&r,
             (struct wire_logs){.task = ref(0).task.v, .follow = true, .tail_bytes = UINT64_MAX});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_ne(r.answer.code, ERR_OK);
    T_CONTAINS(r.answer.msg, log_tampers[_i].told);
    /* The task and the cell are not affected. */
    int beats = replica->beats;
    T_RUN(&r.loop, replica->beats > beats + 1);
    rig_release(&r);
}
END_TEST

START_TEST(a_user_may_use_only_a_part_of_the_readers)
{
    struct rpc_conn *readers[LOGS_READERS_PER_USER];
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo up; exec sleep 1000");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    struct wire_logs follow = {.task = ref(0).task.v, .follow = true, .tail_bytes = UINT64_MAX};
    for (int i = 0; i < LOGS_READERS_PER_USER; i++) {
        r.reader = NULL;
        read_log(&r, follow);
        T_RUN(&r.loop, r.log_size > 0);
        readers[i] = r.reader;
    }
    r.reader = NULL;
    read_log(&r, follow);
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_LIMIT);
    T_CONTAINS(r.answer.msg, "reads 16 logs on this machine already");
    /* Other users are not affected; after one reader ends the user may start another. */
    struct tls_context *user = r.user;
    struct rpc_conn *one_too_many = r.reader;
    r.reader = NULL;
    r.user = t_tls(r.pki, "user/root");
    read_log(&r, follow);
    T_RUN(&r.loop, r.log_size > 0);
    rpc_close(r.reader);
    tls_context_close(r.user);
    r.user = user;
    r.reader_closed = false;
    T_RUN(&r.loop, r.reader_closed);
    r.reader_closed = false;
    rpc_close(readers[0]);
    T_RUN(&r.loop, r.reader_closed);
    r.reader = one_too_many;
    T_RUN(&r.loop, (read_log(&r, follow), t_loop_run_ms(&r.loop, 50), r.log_size > 0));
    for (int i = 1; i < LOGS_READERS_PER_USER; i++)
        rpc_close(readers[i]);
    rpc_close(one_too_many);
    rig_release(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_logs");
    TCase *logs = tcase_create("logs");
    tcase_set_timeout(logs, 60);
    tcase_add_test(logs, a_log_is_read_from_the_start_and_from_its_tail);
    tcase_add_test(logs, a_followed_log_arrives_as_it_is_written_and_ends_with_the_task);
    tcase_add_test(logs, a_refusal_of_a_missing_log_lists_the_existing_ones);
    tcase_add_loop_test(logs, a_log_that_was_tampered_with_is_refused_and_blocks_nothing, 0,
                        ARRAY_SIZE(log_tampers));
    tcase_add_test(logs, a_user_may_use_only_a_part_of_the_readers);
    tcase_add_test(logs, a_log_is_read_by_its_user_and_by_readers_and_operators);
    tcase_add_test(logs, a_restarted_borglet_knows_the_readers);
    tcase_add_test(logs, identities_are_stored_completely_or_not_at_all);
    tcase_add_test(logs, a_reader_that_disconnects_and_one_too_many_are_harmless);
    suite_add_tcase(suite, logs);
    return t_main(suite);
}
