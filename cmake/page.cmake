# SPDX-License-Identifier: BSD-2-Clause
# cmake -D SOURCE=src/exporter -D OUT=page.c -P page.cmake
#
# Puts page.html together with its style and script and writes it as C. The page's policy has the
# hashes of both, so a browser runs nothing else there.

function(to_base64 hex out)
  set(digits "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  set(text "")
  # 32 bytes: ten groups of three, and two bytes.
  foreach(at RANGE 0 54 6)
    string(SUBSTRING "${hex}" ${at} 6 group)
    foreach(shift 18 12 6 0)
      math(EXPR index "(0x${group} >> ${shift}) & 63")
      string(SUBSTRING "${digits}" ${index} 1 digit)
      string(APPEND text "${digit}")
    endforeach()
  endforeach()
  string(SUBSTRING "${hex}" 60 4 group)
  foreach(shift 18 12 6)
    math(EXPR index "(0x${group}00 >> ${shift}) & 63")
    string(SUBSTRING "${digits}" ${index} 1 digit)
    string(APPEND text "${digit}")
  endforeach()
  set(${out} "${text}=" PARENT_SCOPE)
endfunction()

function(read_part name out)
  file(READ ${SOURCE}/${name} text)
  string(SHA256 hash "${text}")
  to_base64(${hash} base64)
  set(${out} "${text}" PARENT_SCOPE)
  set(${out}_hash "sha256-${base64}" PARENT_SCOPE)
endfunction()

read_part(page.css style)
read_part(page.js script)
file(READ ${SOURCE}/page.html page)
string(REPLACE "@STYLE@" "${style}" page "${page}")
string(REPLACE "@SCRIPT@" "${script}" page "${page}")
file(WRITE ${OUT}.html "${page}")
file(READ ${OUT}.html hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(
  WRITE ${OUT}
  "#include \"page.h\"\n\nconst char page_html[] = { ${bytes} 0 };\n"
  "const size_t page_html_len = sizeof page_html - 1;\n"
  "const char page_policy[] = \"default-src 'none'; connect-src 'self'; img-src data:; "
  "style-src '${style_hash}'; script-src '${script_hash}'; base-uri 'none'; "
  "form-action 'none'; frame-ancestors 'none'\";\n")
