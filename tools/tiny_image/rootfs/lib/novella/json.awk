# Reads one JSON object and prints strings in it: with want=name the member `name`, with
# want=name/ each member of the object `name`. Members of the same name elsewhere (a user's
# own metadata may hold a "hostname") do not count. Assumes that the JSON is valid.

{ text = text $0 "\n" }

END {
    depth = 0
    while (match(text, /"([^"\\]|\\.)*"|[][{}:,]/)) {
        token = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        if (token == "{" || token == "[") { depth++; key[depth] = ""; after_colon = 0 }
        else if (token == "}" || token == "]") { depth--; after_colon = 0 }
        else if (token == ":") after_colon = 1
        else if (token == ",") after_colon = 0
        else if (!after_colon) key[depth] = unquoted(token)
        else if (wanted()) print unquoted(token)
    }
}

function wanted() {
    if (depth == 1) return key[1] == want
    return depth == 2 && key[1] "/" == want
}

function unquoted(token,    out, at, letter) {
    token = substr(token, 2, length(token) - 2)
    while (at = index(token, "\\")) {
        letter = substr(token, at + 1, 1)
        out = out substr(token, 1, at - 1)
        token = substr(token, at + 2)
        if (letter == "n" || letter == "r") out = out "\n"
        else if (letter == "t") out = out "\t"
        else if (letter == "u") { out = out "?"; token = substr(token, 5) }
        else out = out letter
    }
    return out token
}
