// The text of an error, for tests that hold it to the word.
#pragma once

#include <exception>
#include <string>

/// What `call` throws says; "no error" if it throws nothing. Other exceptions than Error pass
/// through.
template <class Error = std::exception, class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
