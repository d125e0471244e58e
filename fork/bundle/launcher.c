/* Starts a program of a bundle with the bundle's libraries (fork/bundle.sh).
 *
 * Copies stand where the programs belong; the program itself is libexec/NAME, for
 * NAME that of the copy. The dynamic loader is started by name, with the folders of
 * libraries on its command line: nothing is left in the environment, so that other
 * programs, such as another Python, find their own. It is no shell script, since there
 * need not be a shell.
 *
 * Compiled in: GLIBC, the oldest version of the C library that will do ("2.36"), and
 * GLIBCXX, the newest symbols that are wanted of libstdc++ ("GLIBCXX_3.4.30"). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOADER "/lib64/ld-linux-x86-64.so.2"
#define MOST_NEEDED 32

static char self[PATH_MAX], root[PATH_MAX];
static const char *name;

static void fail(const char *sentence, ...) {
  va_list values;
  va_start(values, sentence);
  fprintf(stderr, "%s: ", name);
  vfprintf(stderr, sentence, values);
  fputc('\n', stderr);
  va_end(values);
  exit(2);
}

static char *joined(const char *format, ...) {
  char *text;
  va_list values;
  va_start(values, format);
  if (vasprintf(&text, format, values) < 0) fail("memory ran out");
  va_end(values);
  return text;
}

/* Finds this copy and, above it, the folder that has libexec/. */
static void find_root(void) {
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  name = "bundle";
  if (length < 0) fail("/proc is not mounted, or cannot be read");
  self[length] = 0;
  name = strrchr(self, '/') + 1;
  strcpy(root, self);
  for (char *slash; (slash = strrchr(root, '/')) != NULL;) {
    *slash = 0;
    char *libexec = joined("%s/libexec", root);
    int found = access(libexec, X_OK) == 0;
    free(libexec);
    if (found) return;
  }
  fail("%s has left its bundle: no folder above it has libexec/; link to it instead",
       self);
}

/* libstdc++'s symbols have versions, of which a later library has all earlier ones. */
static int has_libstdcxx(const char *version) {
  void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);
  struct link_map *map;
  struct stat status;
  int found = 0;
  if (library == NULL) return 0;
  if (dlopen("libgcc_s.so.1", RTLD_LAZY | RTLD_LOCAL) == NULL) return 0;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) return 0;
  int file = open(map->l_name, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  if (fstat(file, &status) == 0) {
    void *content = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (content != MAP_FAILED)  /* with the 0 at its end */
      found = memmem(content, status.st_size, version, strlen(version) + 1) != NULL;
  }
  close(file);
  return found;
}

static int holds(const char *folder, const char *library) {
  char *path = joined("%s/%s", folder, library);
  int found = access(path, R_OK) == 0;
  free(path);
  return found;
}

/* What of NVIDIA's libraries has not been found yet, and the folders of the others. */
static struct {
  char *needed[MOST_NEEDED];
  int count;
  char *folders;
} nvidia = {.folders = ""};

/* Takes folders that belong together where one holds what is needed. */
static void try_folders(char *const *folders, size_t count) {
  int useful = 0;
  for (size_t i = 0; i < count; ++i) {
    for (int j = 0; j < nvidia.count;) {
      if (holds(folders[i], nvidia.needed[j])) {
        nvidia.needed[j] = nvidia.needed[--nvidia.count];
        useful = 1;
      } else {
        ++j;
      }
    }
  }
  for (size_t i = 0; useful && i < count; ++i)
    nvidia.folders = joined("%s:%s", nvidia.folders, folders[i]);
}

static void try_pattern(const char *format, const char *folder) {
  glob_t found;
  char *pattern = joined(format, folder);
  if (nvidia.count && glob(pattern, 0, NULL, &found) == 0) {
    try_folders(found.gl_pathv, found.gl_pathc);
    globfree(&found);
  }
  free(pattern);
}

/* The folders of a list with ':' between. */
static void try_list(const char *list) {
  char *rest = strdup(list), *folder;
  while ((folder = strsep(&rest, ":")) != NULL) try_folders(&folder, 1);
}

/* The wheels of each Python on PATH. */
static void try_pythons(void) {
  const char *path = getenv("PATH");
  char *rest = strdup(path ? path : "/usr/local/bin:/usr/bin:/bin"), *folder;
  while ((folder = strsep(&rest, ":")) != NULL) {
    if (!holds(folder, "python3")) continue;
    try_pattern("%s/../lib/python3*/site-packages/nvidia/*/lib", folder);
    try_pattern("%s/../lib/python3*/dist-packages/nvidia/*/lib", folder);
    try_pattern("%s/../local/lib/python3*/dist-packages/nvidia/*/lib", folder);
  }
}

/* Finds the libraries that lib/nvidia names, one a line, where there is such a file. */
static void find_nvidia(void) {
  char *list = joined("%s/lib/nvidia", root), *line = NULL;
  const char *given = getenv("NVIDIA_LIBS");
  size_t size = 0;
  FILE *file = fopen(list, "re");
  if (file == NULL) return;
  while (getline(&line, &size, file) > 0 && nvidia.count < MOST_NEEDED) {
    line[strcspn(line, "\n")] = 0;
    nvidia.needed[nvidia.count++] = strdup(line);
  }
  fclose(file);
  if (given != NULL) try_list(given);
  try_pythons();
  try_pattern("%s/lib64", "/usr/local/cuda");
  for (int j = 0; j < nvidia.count;) {  /* the system's */
    if (dlopen(nvidia.needed[j], RTLD_LAZY | RTLD_LOCAL) != NULL)
      nvidia.needed[j] = nvidia.needed[--nvidia.count];
    else
      ++j;
  }
}

/* Ends with a sentence where one of NVIDIA's libraries was not found. */
static void require_nvidia(void) {
  char *missing = "";
  for (int j = 0; j < nvidia.count; ++j)
    missing = joined("%s%s%s", missing, j ? ", " : "", nvidia.needed[j]);
  if (nvidia.count)
    fail("%s of NVIDIA's libraries %s neither in NVIDIA_LIBS, nor among the packages"
         " of a python3 in PATH, nor in /usr/local/cuda/lib64, nor the system's: name"
         " the folders with NVIDIA_LIBS=FOLDER:..., such as site-packages/nvidia/*/lib"
         " of a Python that has PyTorch", missing, nvidia.count > 1 ? "are" : "is");
}

int main(int count, char **given) {
  char **arguments = calloc(count + 16, sizeof *arguments);
  const char *program, *others = getenv("LD_LIBRARY_PATH");
  int next = 0, had_major, had_minor, major, minor;
  find_root();
  if (arguments == NULL) fail("memory ran out");
  if (sscanf(gnu_get_libc_version(), "%d.%d", &had_major, &had_minor) != 2 ||
      sscanf(GLIBC, "%d.%d", &major, &minor) != 2 ||
      had_major * 1000 + had_minor < major * 1000 + minor)
    fail("this needs the C library glibc " GLIBC " or later; this machine's is %s",
         gnu_get_libc_version());
  find_nvidia();
  int is_selftest = strcmp(name, "selftest") == 0;
  int is_python = is_selftest || strcmp(name, "python") == 0;
  if (!is_python) require_nvidia();  /* much of the Python needs no Caffe */
  char *own = has_libstdcxx(GLIBCXX) ? "" : joined("%s/lib/gcc:", root);
  char *libraries = joined("%s%s/lib%s%s%s", own, root, nvidia.folders,
                           others && *others ? ":" : "", others ? others : "");
  arguments[next++] = LOADER;
  arguments[next++] = "--library-path";
  arguments[next++] = libraries;
  arguments[next++] = "--argv0";
  if (is_python) {
    unsetenv("PYTHONHOME");
    program = joined("%s/libexec/python", root);
    arguments[next++] = joined("%s/.venv/bin/python", root);
  } else {
    program = joined("%s/libexec/%s", root, name);
    arguments[next++] = self;
  }
  arguments[next++] = (char *)program;
  if (is_selftest) {
    arguments[next++] = joined("%s/swwae/launch.py", root);
    arguments[next++] = "selftest";
  }
  for (int i = 1; i < count; ++i) arguments[next++] = given[i];
  if (access(program, R_OK) != 0) fail("%s is missing from the bundle", program);
  execv(LOADER, arguments);
  fail("%s cannot be started: %s", LOADER, strerror(errno));
}
