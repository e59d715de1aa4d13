/*
 * test_private_dir.c - nobody else looks into a master's directory, whatever was there before.
 */
#include "private_dir.h"
#include "testlib.h"

#include <fcntl.h>
#include <sys/stat.h>

static unsigned mode_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void file_make(const char *path, mode_t mode)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(chmod(path, mode), 0);
}

START_TEST(a_new_one_is_its_owners)
{
    const char *dir = t_path(t_dir(), "new");
    mode_t before = umask(0);
    T_OK(private_dir(dir, &t_err));
    umask(before);
    ck_assert_uint_eq(mode_of(dir), 0700);
}
END_TEST

START_TEST(what_is_there_becomes_its_owners)
{
    static const char outside_name[] = "outside", link_name[] = "link", fifo_name[] = "fifo";
    const char *base = t_dir();
    char dir[300], deep[320];
    snprintf(dir, sizeof dir, "%s", t_path(base, "dir"));
    snprintf(deep, sizeof deep, "%s", t_path(dir, "raft"));
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    ck_assert_int_eq(mkdir(deep, 0700), 0);
    file_make(t_path(base, outside_name), 0644);
    file_make(t_path(dir, "cell.db"), 0644);
    file_make(t_path(dir, "key"), 0400);
    file_make(t_path(deep, "open-1"), 0666);
    ck_assert_int_eq(symlink(t_path(base, outside_name), t_path(dir, link_name)), 0);
    ck_assert_int_eq(mkfifo(t_path(dir, fifo_name), 0644), 0);
    ck_assert_int_eq(chmod(deep, 0755), 0);
    ck_assert_int_eq(chmod(dir, 0777), 0);
    T_OK(private_dir(dir, &t_err));
    ck_assert_uint_eq(mode_of(dir), 0700);
    ck_assert_uint_eq(mode_of(deep), 0700);
    ck_assert_uint_eq(mode_of(t_path(dir, "cell.db")), 0600);
    ck_assert_uint_eq(mode_of(t_path(dir, "key")), 0400);
    ck_assert_uint_eq(mode_of(t_path(deep, "open-1")), 0600);
    ck_assert_uint_eq(mode_of(t_path(base, outside_name)), 0644);
    T_OK(private_dir(dir, &t_err));
}
END_TEST

START_TEST(a_place_that_is_none_is_refused)
{
    T_REFUSED(private_dir("/nonexistent/dir", &t_err), ERR_IO);
    T_CONTAINS(t_err.msg, "cannot create the directory /nonexistent/dir");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("private_dir");
    TCase *t = tcase_create("private_dir");
    tcase_add_test(t, a_new_one_is_its_owners);
    tcase_add_test(t, what_is_there_becomes_its_owners);
    tcase_add_test(t, a_place_that_is_none_is_refused);
    suite_add_tcase(suite, t);
    return t_main(suite);
}
