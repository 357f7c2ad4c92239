# Writes OUT with the version and the commit of the tree, only when they changed. Runs at every build,
# so that results name the commit that made them.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD OUTPUT_VARIABLE commit
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
else()
  execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no
                  OUTPUT_VARIABLE changes ERROR_QUIET)
  if(changes)
    string(APPEND commit ", dirty")
  endif()
endif()
set(text "#define SB_VERSION \"${VERSION}\"\n#define SB_COMMIT \"${commit}\"\n")
string(APPEND text "#define SB_FLAGS \"${FLAGS}\"\n#define SB_OPTIONS \"${OPTIONS}\"\n")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE ${OUT} "${text}")
endif()
