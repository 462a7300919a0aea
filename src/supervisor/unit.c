/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/unit.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "mmproxy/config/config.h"

/* Does the word stand in the line, with nothing of a longer word around it? */
static bool has_word(const char *line, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = line; (at = strstr(at, word)); at++) {
        bool begins = at == line || strchr(" =", at[-1]);

        if (begins && strchr(" ;\n", at[len]))
            return true;
    }
    return false;
}

/* ExecStart as systemctl shows it: "{ path=... ; argv[]=PROGRAM ARGUMENTS ; ...". */
static bool starts_with_file(const char *exec_start, const char *config_path)
{
    const char *arguments = strstr(exec_start, "argv[]=");

    if (!arguments)
        return false;
    if (strcmp(config_path, CONFIG_DEFAULT_FILE) == 0 && !strstr(arguments, " -c") &&
        !strstr(arguments, " --config"))
        return true;
    return has_word(arguments, config_path);
}

void unit_find(struct unit *out, const char *config_path)
{
    static const char command[] = "systemctl show --property=ExecStart --property=User "
                                  "--property=ProtectHome mmproxy.service 2>/dev/null";
    char line[4096];
    bool is_for_file = false;
    FILE *answer;

    *out = (struct unit){ .n_groups = 0 };
    answer = config_path && geteuid() == 0 ? popen(command, "re") : NULL;
    if (!answer)
        return;
    while (fgets(line, sizeof line, answer)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "ExecStart=", 10) == 0)
            is_for_file = is_for_file || starts_with_file(line, config_path);
        else if (strncmp(line, "User=", 5) == 0)
            snprintf(out->user, sizeof out->user, "%.63s", line + 5);
        else if (strncmp(line, "ProtectHome=", 12) == 0)
            out->hides_homes = strcmp(line + 12, "yes") == 0 || strcmp(line + 12, "tmpfs") == 0;
    }
    (void)pclose(answer);
    if (!is_for_file || strcmp(out->user, "root") == 0)
        out->user[0] = '\0';
}

/* As systemd does it for ProtectHome=. Where mounting is not allowed they stay to be seen. */
static void hide_homes(void)
{
    static const char *const homes[] = { "/home", "/root", "/run/user" };

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return;
    for (size_t i = 0; i < sizeof homes / sizeof *homes; i++)
        (void)mount("tmpfs", homes[i], "tmpfs", MS_RDONLY, "mode=000");
}

int unit_enter(struct unit *unit)
{
    const struct passwd *user = getpwnam(unit->user);

    if (!user)
        return -ENOENT;
    unit->n_groups = getgroups(sizeof unit->groups / sizeof *unit->groups, unit->groups);
    if (unit->n_groups < 0)
        return -errno;
    if (unit->hides_homes)
        hide_homes();
    if (initgroups(unit->user, user->pw_gid) < 0)
        return -errno;
    if (setegid(user->pw_gid) == 0 && seteuid(user->pw_uid) == 0)
        return 0;

    int err = -errno;
    unit_leave(unit);
    return err;
}

void unit_leave(const struct unit *unit)
{
    int err = seteuid(0);

    /* The saved user is root. */
    err = err < 0 ? err : setegid(getgid());
    err = err < 0 ? err : setgroups((size_t)unit->n_groups, unit->groups);
    assert(err == 0);
}
