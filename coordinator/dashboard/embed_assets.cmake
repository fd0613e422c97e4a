# cmake -DOUTPUT=FILE.cc -DASSETS="PATH|TYPE|FILE;..." -P embed_assets.cmake: the files as arrays in one C++ file.
# A file that is not there is embedded as an empty one.
set(arrays "")
set(table "")
set(index 0)
foreach(asset IN LISTS ASSETS)
  string(REPLACE "|" ";" parts "${asset}")
  list(GET parts 0 path)
  list(GET parts 1 type)
  list(GET parts 2 file)
  if(type MATCHES "^text/")
    string(APPEND type "; charset=utf-8")  # not in ASSETS: there a semicolon ends an item
  endif()
  set(hex "")
  if(EXISTS "${file}")
    file(READ "${file}" hex HEX)
  endif()
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" bytes "${hex}")
  # Eight bytes a literal: compilers join them.
  string(REGEX REPLACE "((\\\\x[0-9a-f][0-9a-f])(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?)"
         "    \"\\1\"\n" literals "${bytes}")
  string(APPEND arrays "constexpr char kBytes${index}[] =\n    \"\"\n${literals}    \"\";\n")
  string(APPEND table "    {\"${path}\", \"${type}\", {kBytes${index}, sizeof(kBytes${index}) - 1}},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE "${OUTPUT}" "// Made by embed_assets.cmake.
#include \"coordinator/dashboard/assets.h\"

namespace lorikeet {
namespace {

${arrays}
constexpr Asset kAssets[] = {
${table}};

}  // namespace

std::span<const Asset> DashboardAssets() { return kAssets; }

}  // namespace lorikeet
")
