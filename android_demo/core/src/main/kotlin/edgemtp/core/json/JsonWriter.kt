package edgemtp.core.json

/** [value] as compact JSON: no spaces, non-ASCII as it is. Python's `json.dumps` writes the same with `(",", ":")`. */
fun writeJson(value: JsonValue): String = StringBuilder().also { it.write(value) }.toString()

private fun StringBuilder.write(value: JsonValue) {
    when (value) {
        is JsonObject -> {
            val entries = value.fields.entries
            appendAll(entries, '{', '}') { (key, one) -> quote(key).append(':').write(one) }
        }

        is JsonArray -> {
            appendAll(value.items, '[', ']') { write(it) }
        }

        is JsonText -> {
            quote(value.text)
        }

        is JsonNumber -> {
            append(value.literal)
        }

        is JsonBoolean -> {
            append(value.value)
        }

        is JsonNull -> {
            append("null")
        }
    }
}

private fun <T> StringBuilder.appendAll(
    items: Collection<T>,
    open: Char,
    close: Char,
    one: StringBuilder.(T) -> Unit,
) {
    append(open)
    items.forEachIndexed { index, item ->
        if (index > 0) append(',')
        one(item)
    }
    append(close)
}

private fun StringBuilder.quote(text: String): StringBuilder {
    append('"')
    text.forEach { escape(it) }
    return append('"')
}

private fun StringBuilder.escape(letter: Char) {
    when (letter) {
        '"' -> append("\\\"")
        '\\' -> append("\\\\")
        '\n' -> append("\\n")
        '\r' -> append("\\r")
        '\t' -> append("\\t")
        '\b' -> append("\\b")
        '\u000c' -> append("\\f")
        else -> if (letter < ' ') append("\\u%04x".format(letter.code)) else append(letter)
    }
}
