# Counts the lines of code (neither blank nor comment) that hold all there is to know about backward: the tape, record()
# and one operation, the product. Prints the number; as a script, `cmake -P`, it fails above the limit.
set(engine_limit 300)
set(core ${CMAKE_CURRENT_LIST_DIR}/../core)

file(READ ${core}/ops/arithmetic.cpp product)
string(FIND "${product}" "\nTensor operator*(const Tensor& a, const Tensor& b)" begin)
string(SUBSTRING "${product}" ${begin} -1 product)
string(FIND "${product}" "\n\n" end)
string(SUBSTRING "${product}" 0 ${end} product)

set(code "${product}")
foreach(file tape.hpp record.hpp tape.cpp)
  file(READ ${core}/${file} text)
  string(APPEND code "\n${text}")
endforeach()
string(REGEX REPLACE "[][;]" "." code "${code}")  # which mean something to CMake's lists
string(REGEX MATCHALL "\n *([^ /\n]|/[^/])" lines "${code}")
list(LENGTH lines engine_lines)

message(STATUS "engine: ${engine_lines} lines of code to read to understand backward (limit ${engine_limit})")
if(CMAKE_SCRIPT_MODE_FILE AND engine_lines GREATER engine_limit)
  message(FATAL_ERROR "the engine has outgrown its limit")
endif()
