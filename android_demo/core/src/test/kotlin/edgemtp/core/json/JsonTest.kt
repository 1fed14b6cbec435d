package edgemtp.core.json

import org.junit.jupiter.api.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue

class JsonTest {
    @Test
    fun `what is read is written again, character by character`() {
        val texts =
            listOf(
                """{"a":1,"b":[true,false,null,-0.5e-3],"c":{"d":""},"e":[]}""",
                """["\"\\\n\r\t\b\f\u0001","ü🙂\u007f"]""".replace("\\u007f", "\u007f"),
                "12345678901234567",
                "{}",
            )
        texts.forEach { assertEquals(it, writeJson(readJson(it))) }
    }

    @Test
    fun `escapes and space are understood`() {
        assertEquals(JsonText("/ü🙂"), readJson(" \"\\/\\u00fc\\ud83d\\ude42\" \n"))
        assertEquals(JsonArray(listOf(JsonNumber("1"), JsonNumber("2"))), readJson("[ 1 ,\t2 ]"))
    }

    @Test
    fun `what is not JSON is refused with its place`() {
        val wrong =
            listOf(
                "",
                "{",
                "[1,]",
                "{\"a\"}",
                "{a:1}",
                "{\"a\":1,}",
                "01",
                "1.",
                ".5",
                "+1",
                "NaN",
                "tru",
                "nul",
                "\"",
                "\"\n\"",
                "\"\\x\"",
                "\"\\u12g4\"",
                "\"\\u12",
                "[1] 2",
                "{\"a\":1,\"a\":2}",
                "[1 2]",
                "\"\\",
            )
        wrong.forEach { text ->
            val error = assertFailsWith<FormatException>(text) { readJson(text) }
            assertTrue("at character" in error.message.orEmpty(), "$text: ${error.message}")
        }
    }

    @Test
    fun `depth is bounded, so that a bad file cannot end the app`() {
        assertFailsWith<FormatException> { readJson("[".repeat(100_000)) }
        readJson("[".repeat(60) + "]".repeat(60))
    }

    @Test
    fun `values are fetched by kind, and a wrong kind is said`() {
        val found = readJsonObject("""{"t":"x","i":3,"w":2.0,"n":1.5,"b":true,"o":{"k":"v"},"l":["a"],"m":[{}]}""")
        assertEquals("x", found.text("t"))
        assertEquals(3, found.integer("i"))
        assertEquals(2, found.integer("w"))
        assertEquals(1.5, found.number("n"))
        assertEquals(true, found.boolean("b"))
        assertEquals("v", found.objectAt("o").text("k"))
        assertEquals(listOf("a"), found.texts("l"))
        assertEquals(1, found.objects("m").size)
        val wrong =
            listOf<(JsonObject) -> Any>(
                { it.text("i") },
                { it.integer("n") },
                { it.number("t") },
                { it.boolean("t") },
                { it.objectAt("l") },
                { it.list("t") },
                { it.texts("m") },
                { it.objects("l") },
                { it.text("absent") },
            )
        wrong.forEach { assertFailsWith<FormatException> { it(found) } }
        assertFailsWith<FormatException> { readJsonObject("[]") }
        assertNull(found["absent"])
    }

    @Test
    fun `records leave out what is not known, and refuse what JSON cannot hold`() {
        val made = jsonOf("a" to null, "b" to 1, "c" to 2L, "d" to 0.1, "e" to 3.0, "f" to mapOf("g" to listOf("h")))
        assertEquals("""{"b":1,"c":2,"d":0.1,"e":3.0,"f":{"g":["h"]}}""", writeJson(made))
        assertEquals("1.0E20", writeJson(jsonOf("x" to 1e20)["x"] ?: JsonNull))
        listOf(Double.NaN, Double.POSITIVE_INFINITY, 'c').forEach {
            assertFailsWith<FormatException> { jsonOf("x" to it) }
        }
    }
}
