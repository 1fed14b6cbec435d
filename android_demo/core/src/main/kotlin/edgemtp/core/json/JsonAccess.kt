package edgemtp.core.json

/** The text under [key]; [FormatException] where it is missing or no text. */
fun JsonObject.text(key: String): String = (need(key) as? JsonText)?.text ?: wrong(key, "text")

/** The boolean under [key]; [FormatException] where it is missing or none. */
fun JsonObject.boolean(key: String): Boolean = (need(key) as? JsonBoolean)?.value ?: wrong(key, "true or false")

/** The whole number under [key]; [FormatException] where it is missing or has a fraction. */
fun JsonObject.integer(key: String): Long = (need(key) as? JsonNumber)?.wholeOrNull() ?: wrong(key, "a whole number")

/** The number under [key]; [FormatException] where it is missing or none. */
fun JsonObject.number(key: String): Double = (need(key) as? JsonNumber)?.literal?.toDouble() ?: wrong(key, "a number")

/** The object under [key]; [FormatException] where it is missing or none. */
fun JsonObject.objectAt(key: String): JsonObject = need(key) as? JsonObject ?: wrong(key, "an object")

/** The list under [key]; [FormatException] where it is missing or none. */
fun JsonObject.list(key: String): List<JsonValue> = (need(key) as? JsonArray)?.items ?: wrong(key, "a list")

/** The list of texts under [key]; [FormatException] where it is missing or holds anything else. */
fun JsonObject.texts(key: String): List<String> =
    list(key).map {
        (it as? JsonText)?.text
            ?: wrong(key, "a list of texts")
    }

/** The list of objects under [key]; [FormatException] where it is missing or holds anything else. */
fun JsonObject.objects(key: String): List<JsonObject> =
    list(key).map {
        it as? JsonObject
            ?: wrong(key, "a list of objects")
    }

/** The value as a whole number, null where it has a fraction or does not fit 64 bits. `1e3` and `2.0` are whole. */
fun JsonNumber.wholeOrNull(): Long? =
    literal.toLongOrNull()
        ?: literal.toDouble().let { if (it == Math.rint(it) && Math.abs(it) < 1e15) it.toLong() else null }

private fun JsonObject.need(key: String): JsonValue =
    fields[key] ?: throw FormatException("\"$key\" is missing; found ${fields.keys.joinToString()}")

private fun JsonObject.wrong(
    key: String,
    needed: String,
): Nothing = throw FormatException("\"$key\" is ${writeJson(fields.getValue(key)).take(60)}, expected $needed")
