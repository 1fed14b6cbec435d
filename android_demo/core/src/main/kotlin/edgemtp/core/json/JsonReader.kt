package edgemtp.core.json

private const val MAX_DEPTH = 64
private val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")

/** The value that [text] holds (RFC 8259, nothing beyond it); [FormatException] with the place where it goes wrong. */
fun readJson(text: String): JsonValue = JsonReader(text).document()

/** As [readJson], for text that must be an object. */
fun readJsonObject(text: String): JsonObject =
    readJson(text) as? JsonObject ?: throw FormatException("found ${text.take(30)}, expected a JSON object")

private class JsonReader(
    private val text: String,
) {
    private var position = 0

    fun document(): JsonValue {
        val value = value(0)
        skipSpace()
        if (position < text.length) fail("the end")
        return value
    }

    private fun value(depth: Int): JsonValue {
        if (depth > MAX_DEPTH) fail("at most $MAX_DEPTH levels")
        skipSpace()
        return when (peek()) {
            '{' -> JsonObject(members(depth))
            '[' -> JsonArray(elements(depth))
            '"' -> JsonText(string())
            't' -> word("true", JsonBoolean(true))
            'f' -> word("false", JsonBoolean(false))
            'n' -> word("null", JsonNull)
            else -> number()
        }
    }

    private fun members(depth: Int): Map<String, JsonValue> {
        val fields = LinkedHashMap<String, JsonValue>()
        separated('}') {
            if (peek() != '"') fail("a key")
            val key = string()
            skipSpace()
            take(':')
            if (fields.put(key, value(depth + 1)) != null) fail("each key once, not \"$key\" again")
        }
        return fields
    }

    private fun elements(depth: Int): List<JsonValue> {
        val items = ArrayList<JsonValue>()
        separated(']') { items += value(depth + 1) }
        return items
    }

    private fun separated(
        close: Char,
        item: () -> Unit,
    ) {
        position++
        skipSpace()
        if (peek() == close) {
            position++
            return
        }
        while (true) {
            skipSpace()
            item()
            skipSpace()
            if (peek() == close) break
            take(',')
        }
        position++
    }

    private fun string(): String {
        val found = StringBuilder()
        position++
        while (true) {
            val letter = peek() ?: fail("a closing quote")
            position++
            when {
                letter == '"' -> return found.toString()
                letter == '\\' -> found.append(escaped())
                letter < ' ' -> fail("no control character in a string")
                else -> found.append(letter)
            }
        }
    }

    private fun escaped(): Char {
        val letter = peek() ?: fail("an escape")
        position++
        return when (letter) {
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'b' -> '\b'
            'f' -> '\u000c'
            'u' -> codeUnit()
            '"', '\\', '/' -> letter
            else -> fail("an escape")
        }
    }

    private fun codeUnit(): Char {
        val digits = text.substring(position, minOf(position + 4, text.length))
        if (digits.length < 4 || digits.any { it.digitToIntOrNull(16) == null }) fail("four hexadecimal digits")
        position += 4
        return digits.toInt(16).toChar()
    }

    private fun number(): JsonNumber {
        val found = NUMBER.matchAt(text, position)?.value ?: fail("a value")
        position += found.length
        return JsonNumber(found)
    }

    private fun word(
        word: String,
        value: JsonValue,
    ): JsonValue {
        if (!text.startsWith(word, position)) fail("a value")
        position += word.length
        return value
    }

    private fun take(letter: Char) {
        if (peek() != letter) fail("'$letter'")
        position++
    }

    private fun peek(): Char? = text.getOrNull(position)

    private fun skipSpace() {
        while (position < text.length && text[position] in " \t\n\r") position++
    }

    private fun fail(needed: String): Nothing {
        val found = peek()?.let { "'$it'" } ?: "the end"
        throw FormatException("not JSON: found $found at character $position, expected $needed")
    }
}
