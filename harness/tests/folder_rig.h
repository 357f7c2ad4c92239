#ifndef SB_FOLDER_RIG_H
#define SB_FOLDER_RIG_H

/* A folder of its own for a test program, and the check that nothing of it is left. */

#include <hdf5.h>
#include <stdlib.h>

#include "harness/fs.h"
#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/tests/check.h"

static char folder[256];

static inline bool folder_open(void)
{
    const char *place = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/stembench-XXXXXX", place ? place : "/tmp");
    sb_h5_quiet();
    return mkdtemp(folder) != NULL;
}

static inline int rig_close(void)
{
    TEST("nothing is left");
    EXPECT(sb_mem_live() == 0);
    EXPECT(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0);
    EXPECT(sb_fs_remove(folder, NULL) == SB_OK);
    (void)H5close();
    return sb_tests_done();
}

#endif
