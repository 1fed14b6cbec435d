package edgemtp.core.plan

import edgemtp.core.golden
import edgemtp.core.json.FormatException
import edgemtp.core.json.JsonArray
import edgemtp.core.json.JsonNumber
import edgemtp.core.json.JsonObject
import edgemtp.core.json.integer
import edgemtp.core.json.list
import edgemtp.core.json.objects
import edgemtp.core.json.readJson
import edgemtp.core.json.texts
import org.junit.jupiter.api.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNotEquals
import kotlin.test.assertTrue

class PlanTest {
    private val plans = listOf("plan-abba.json", "plan-sustained.json")

    @Test
    fun `draws are those of every language`() {
        val seeds = (readJson(golden("splitmix64.json").readText()) as JsonArray).items.map { it as JsonObject }
        assertTrue(seeds.isNotEmpty())
        for (seed in seeds) {
            val random = SplitMix64(seed.integer("seed"))
            assertEquals(seed.texts("outputs"), seed.texts("outputs").map { random.next().toString() })
            for (below in seed.objects("below")) {
                val again = SplitMix64(seed.integer("seed"))
                val values = below.list("values").map { (it as JsonNumber).literal.toInt() }
                assertEquals(values, values.map { again.below(below.integer("bound").toInt()) })
            }
        }
    }

    @Test
    fun `a seed gives the pairs of every language`() {
        for (name in plans) {
            val plan = readPlan(golden(name).readText())
            val ids = plan.prompts.map { it.id }
            assertEquals(plan.pairs, makePairs(plan.seed, ids, plan.pairs.size, plan.blockS), name)
            assertEquals(plan.promptSetSha256, promptSetSha256(plan.prompts), name)
            assertNotEquals(plan.pairs, makePairs(plan.seed + 1, ids, plan.pairs.size, plan.blockS), name)
        }
        assertFalse(readPlan(golden(plans[0]).readText()).sustained)
        assertTrue(readPlan(golden(plans[1]).readText()).sustained)
    }

    @Test
    fun `orders flip from pair to pair`() {
        val pairs = builtInPlan(3).pairs
        pairs.zipWithNext { earlier, later -> assertEquals(earlier.first, later.first.other()) }
        val firsts = (0L..20L).map { makePairs(it, listOf("a"), 1, 0).first().first }.toSet()
        assertEquals(Arm.entries.toSet(), firsts)
    }

    @Test
    fun `no prompt always starts with the same arm`() {
        for (count in 1..6) {
            val ids = List(count) { "p$it" }
            val firsts = makePairs(3, ids, 2 * count, 0).groupBy({ it.prompts.single() }, { it.first })
            for (id in ids) assertEquals(Arm.entries.toSet(), firsts.getValue(id).toSet(), "$id of $count")
        }
        makePairs(3, listOf("a", "b"), 8, 300).zipWithNext { earlier, later ->
            assertEquals(earlier.first, later.first.other())
        }
    }

    @Test
    fun `a damaged plan is refused with the reason`() {
        val good = golden(plans[0]).readText()
        val spoilt =
            mapOf(
                "format" to good.replace("edge_mtp.plan", "other"),
                "version" to good.replace("\"v\": 1", "\"v\": 2"),
                "design" to good.replace("abba", "aabb"),
                "seed" to good.replace("1234567", "-1"),
                "prompts were changed" to good.replace("sky blue", "sky green"),
                "names" to good.replaceFirst("\"prompts\": [\n    \"code-3", "\"prompts\": [\n    \"code-9"),
                "first" to good.replaceFirst("\"first\": \"spec_off\"", "\"first\": \"off\""),
                "place" to good.replaceFirst("\"pair\": 0", "\"pair\": 5"),
                "max_output_tokens" to good.replace("\"max_output_tokens\": 128", "\"max_output_tokens\": 0"),
                "same id" to good.replace("\"id\": \"chat-2\"", "\"id\": \"chat-1\""),
                "warmups" to good.replace("\"warmups\": 1", "\"warmups\": -1"),
            )
        for ((word, text) in spoilt) {
            assertNotEquals(good, text, word)
            val error = assertFailsWith<FormatException>(word) { readPlan(text) }
            assertTrue(word in error.message.orEmpty(), "$word: ${error.message}")
        }
    }

    @Test
    fun `a plan without pairs, or a pair without prompts, is refused`() {
        val head = golden(plans[0]).readText().substringBefore("\"pairs\"")
        assertFailsWith<FormatException> { readPlan("$head\"pairs\": []}") }
        assertFailsWith<FormatException> {
            readPlan("$head\"pairs\": [{\"pair\": 0, \"first\": \"spec_on\", \"prompts\": []}]}")
        }
    }
}
