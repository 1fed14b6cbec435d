package edgemtp.core.json

/** A JSON value. Numbers keep their text, so that a 64-bit integer does not pass through a double. */
sealed interface JsonValue

/** An object; keys keep their order. */
data class JsonObject(
    val fields: Map<String, JsonValue>,
) : JsonValue {
    /** The value under [key], null where there is none. */
    operator fun get(key: String): JsonValue? = fields[key]
}

/** A list. */
data class JsonArray(
    val items: List<JsonValue>,
) : JsonValue

/** A string. */
data class JsonText(
    val text: String,
) : JsonValue

/** A number by its JSON text. */
data class JsonNumber(
    val literal: String,
) : JsonValue

/** `true` or `false`. */
data class JsonBoolean(
    val value: Boolean,
) : JsonValue

/** `null`. */
data object JsonNull : JsonValue

/** Text that is not JSON, or JSON that is not what was asked for; the message says what was found and needed. */
class FormatException(
    message: String,
) : Exception(message)

/**
 * An object of [pairs] in their order; those whose value is null are left out, as the log wants it.
 *
 * Values may be strings, booleans, finite numbers, lists, maps and JSON values.
 */
fun jsonOf(vararg pairs: Pair<String, Any?>): JsonObject = jsonOf(pairs.asList())

/** As the other [jsonOf], from a list. */
fun jsonOf(pairs: List<Pair<String, Any?>>): JsonObject {
    val fields = LinkedHashMap<String, JsonValue>()
    for ((key, value) in pairs) {
        if (value != null) fields[key] = toJson(value)
    }
    return JsonObject(fields)
}

private fun toJson(value: Any): JsonValue =
    when (value) {
        is JsonValue -> value
        is String -> JsonText(value)
        is Boolean -> JsonBoolean(value)
        is Int, is Long -> JsonNumber(value.toString())
        is Double -> JsonNumber(decimal(value))
        is List<*> -> JsonArray(value.map { toJson(requireNotNull(it)) })
        is Map<*, *> -> jsonOf(value.map { (key, one) -> key.toString() to one })
        else -> throw FormatException("cannot write a ${value.javaClass.simpleName} as JSON")
    }

private fun decimal(value: Double): String {
    if (value.isNaN() || value.isInfinite()) throw FormatException("found $value, JSON has finite numbers only")
    return if (value == Math.rint(value) && Math.abs(value) < 1e15) "${value.toLong()}.0" else value.toString()
}
