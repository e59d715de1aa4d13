/*
 * test_log.c - lines on stderr that nobody can forge, and the clocks they are stamped with.
 */
#include "log.h"

#include "testlib.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

enum { THREADS = 4, LINES = LOG_PLACE_BURST / THREADS };

static int saved_stderr = -1;

/* From here on stderr is a file; captured() gives its content and brings the old one back. */
static void capture(void)
{
    int fd = open(t_path(t_dir(), "stderr"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    saved_stderr = dup(STDERR_FILENO);
    ck_assert_int_ge(saved_stderr, 0);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    close(fd);
}

static void captured(struct buf *to)
{
    ssize_t n;
    ck_assert_int_eq(lseek(STDERR_FILENO, 0, SEEK_SET), 0);
    while ((n = read(STDERR_FILENO, buf_reserve(to, 65536), 65536)) > 0)
        to->size += (size_t)n;
    buf_append(to, "", 0);
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
}

START_TEST(a_line_has_time_who_level_and_facts)
{
    CLEANUP(buf_release) struct buf text = {0};
    int ms, end = 0;
    struct tm tm;
    log_open(LOG_INFO, "master/1");
    capture();
    log_info("task.started job=%s index=%d", log_quoted("web"), 3);
    captured(&text);
    const char *rest = strptime(buf_text(&text), "%Y-%m-%dT%H:%M:%S", &tm);
    ck_assert_ptr_nonnull(rest);
    sscanf(rest, ".%3dZ master/1 info task.started job=\"web\" index=3%n", &ms, &end);
    ck_assert_int_gt(end, 0);
    ck_assert_str_eq(rest + end, "\n");
    int64_t age_s = (int64_t)(clock_wall_ms() / 1000) - (int64_t)timegm(&tm);
    ck_assert_int_le(age_s, 60);
    ck_assert_int_ge(age_s, -1);
}
END_TEST

START_TEST(lines_below_the_level_are_dropped)
{
    CLEANUP(buf_release) struct buf text = {0};
    log_open(LOG_WARN, "x");
    capture();
    log_debug("a.debug");
    log_info("a.info");
    log_warn("a.warn");
    log_error("a.error");
    captured(&text);
    ck_assert_ptr_null(strstr(buf_text(&text), "a.debug"));
    ck_assert_ptr_null(strstr(buf_text(&text), "a.info"));
    T_CONTAINS(buf_text(&text), "x warn a.warn\n");
    T_CONTAINS(buf_text(&text), "x error a.error\n");
}
END_TEST

START_TEST(levels_are_read_by_name)
{
    ck_assert_int_eq(log_level_parse("debug"), LOG_DEBUG);
    ck_assert_int_eq(log_level_parse("info"), LOG_INFO);
    ck_assert_int_eq(log_level_parse("warn"), LOG_WARN);
    ck_assert_int_eq(log_level_parse("error"), LOG_ERROR);
    ck_assert_int_eq(log_level_parse("loud"), -1);
    ck_assert_int_eq(log_level_parse(""), -1);
}
END_TEST

START_TEST(quoted_text_cannot_leave_its_quotes)
{
    char longer[1000];
    memset(longer, '\n', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    ck_assert_str_eq(log_quoted("plain"), "\"plain\"");
    ck_assert_str_eq(log_quoted(""), "\"\"");
    ck_assert_str_eq(log_quoted("a\"b\\c"), "\"a\\\"b\\\\c\"");
    ck_assert_str_eq(log_quoted("a\nb\x01\x7f\t"), "\"a\\nb\\x01\\x7f\\x09\"");
    ck_assert_str_eq(log_quoted("\xc3\xa9"), "\"\xc3\xa9\"");
    ck_assert_uint_le(strlen(log_quoted(longer)), 258);
    ck_assert_int_eq(log_quoted(longer)[strlen(log_quoted(longer)) - 1], '"');
    const char *first = log_quoted("first"), *second = log_quoted("second");
    ck_assert_str_eq(first, "\"first\"");
    ck_assert_str_eq(second, "\"second\"");
}
END_TEST

START_TEST(text_without_quotes_cannot_begin_a_line)
{
    CLEANUP(buf_release) struct buf text = {0};
    char longer[10000];
    memset(longer, 'y', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    log_open(LOG_INFO, "x");
    capture();
    log_info("a.b text=%s", "\n2026-01-01T00:00:00.000Z x error forged\r\x1b[2J");
    log_info("a.long text=%s", longer);
    captured(&text);
    size_t lines = 0;
    for (const char *p = buf_text(&text); (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    ck_assert_uint_eq(lines, 2);
    ck_assert_ptr_null(strchr(buf_text(&text), '\x1b'));
    ck_assert_uint_lt(text.size, 4500);
    ck_assert_int_eq(text.bytes[text.size - 1], '\n');
}
END_TEST

static void write_lines(void *arg)
{
    int thread = *(int *)arg;
    for (int i = 0; i < LINES; i++)
        log_info("a.line thread=%d number=%d end", thread, i);
}

START_TEST(lines_of_several_threads_do_not_mix)
{
    CLEANUP(buf_release) struct buf text = {0};
    uv_thread_t threads[THREADS];
    int numbers[THREADS], next[THREADS] = {0};
    log_open(LOG_INFO, "x");
    capture();
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(uv_thread_create(&threads[i], write_lines, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&threads[i]);
    captured(&text);
    char *save = NULL;
    for (char *line = strtok_r(text.bytes, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        int thread = -1, number = -1, end = 0;
        sscanf(line, "%*s x info a.line thread=%d number=%d end%n", &thread, &number, &end);
        ck_assert_int_eq(line[end], '\0');
        ck_assert_int_ge(thread, 0);
        ck_assert_int_eq(number, next[thread]++);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(next[i], LINES);
}
END_TEST

static size_t count_of(const struct buf *text, const char *what)
{
    size_t count = 0;
    for (const char *at = text->bytes; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

static void say_again(void)
{
    log_warn("a.flood from=%s", "outside");
}

/* Who decides how often a line is said must not fill a disk with it. */
START_TEST(what_is_said_without_end_is_left_out_and_counted)
{
    enum { MANY = 5 * LOG_PLACE_BURST };
    CLEANUP(buf_release) struct buf text = {0};
    struct stat st = {0};
    log_open(LOG_INFO, "x");
    capture();
    uint64_t begin_ms = clock_mono_ms();
    for (int i = 0; i < MANY; i++)
        say_again();
    uint64_t took_ms = clock_mono_ms() - begin_ms;
    log_warn("a.word of=another"); /* has a budget of its own */
    off_t size = 0;
    ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
    for (size = st.st_size; st.st_size == size; say_again()) /* a second at the most */
        ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
    captured(&text);
    size_t lines = count_of(&text, "x warn a.flood from=outside");
    ck_assert_uint_ge(lines, LOG_PLACE_BURST);
    ck_assert_uint_le(lines, LOG_PLACE_BURST + 3 + took_ms * LOG_PLACE_LINES_PER_S / 1000);
    ck_assert_uint_eq(count_of(&text, "x warn a.word of=another\n"), 1);
    ck_assert_uint_ge(count_of(&text, "x warn a.flood from=outside left_out="), 1);
    const char *told = strstr(text.bytes, " left_out=");
    ck_assert_uint_gt(strtoull(told + strlen(" left_out="), NULL, 10), 0);
}
END_TEST

START_TEST(what_is_asked_for_with_debug_is_all_there)
{
    CLEANUP(buf_release) struct buf text = {0};
    log_open(LOG_DEBUG, "x");
    capture();
    for (int i = 0; i < 2 * LOG_PLACE_BURST; i++)
        log_debug("a.detail");
    captured(&text);
    ck_assert_uint_eq(count_of(&text, "x debug a.detail\n"), 2 * LOG_PLACE_BURST);
}
END_TEST

START_TEST(clocks_go_forward_and_ids_are_random)
{
    uint64_t us = clock_mono_us(), ms = clock_mono_ms(), ids[100][2];
    ck_assert_uint_ge(ms, us / 1000);
    ck_assert_uint_ge(clock_mono_us(), us);
    ck_assert_uint_gt(clock_wall_ms(), UINT64_C(1600000000000));
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        random_id(ids[i]);
        ck_assert_uint_ne(ids[i][0], 0);
        ck_assert_uint_ne(ids[i][1], 0);
        for (size_t j = 0; j < i; j++)
            ck_assert(ids[i][0] != ids[j][0] && ids[i][1] != ids[j][1]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_line_has_time_who_level_and_facts);
    tcase_add_test(tcase, lines_below_the_level_are_dropped);
    tcase_add_test(tcase, levels_are_read_by_name);
    tcase_add_test(tcase, quoted_text_cannot_leave_its_quotes);
    tcase_add_test(tcase, text_without_quotes_cannot_begin_a_line);
    tcase_add_test(tcase, lines_of_several_threads_do_not_mix);
    tcase_add_test(tcase, what_is_said_without_end_is_left_out_and_counted);
    tcase_add_test(tcase, what_is_asked_for_with_debug_is_all_there);
    tcase_add_test(tcase, clocks_go_forward_and_ids_are_random);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
