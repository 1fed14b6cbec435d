package edgemtp.core.engine

import edgemtp.core.plan.Sampler
import edgemtp.core.simulated.SimulatedTime
import org.junit.jupiter.api.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull
import kotlin.test.assertTrue

class EngineTest {
    @Test
    fun `the success rate is the last one that is a rate`() {
        val line = "I0000 00:00:00.1 llm_litert_mtp_drafter.cc:99] MTP Drafter - Success rate: "
        assertEquals(0.587, successRate(listOf("other", line + "0.2", line + "0.587")))
        assertNull(successRate(listOf(line + "nan")))
        assertNull(successRate(listOf(line + "1.5")))
        assertNull(successRate(listOf("MTP Drafter - Success rates vary")))
        assertNull(successRate(emptyList()))
    }

    private fun play(
        speculative: Boolean,
        cancelAfter: Int = Int.MAX_VALUE,
    ): Triple<String, Int, Reply> {
        val factory = ScriptedEngineFactory(SimulatedTime())
        val engine = factory.load(EngineSettings("x", Backend.SCRIPTED, null, null, speculative))
        val text = StringBuilder()
        var chunks = 0
        val reply =
            engine.generate(Request(null, "Say something.", 11, Sampler(0.0, 1, 1.0, 0), speculative)) {
                text.append(it)
                if (++chunks == cancelAfter) engine.cancel()
            }
        assertEquals(emptyList(), engine.close(), "a script has no success rate")
        assertTrue(factory.cacheIsWarm("x"))
        return Triple(text.toString(), chunks, reply)
    }

    @Test
    fun `the script says the same with drafting, in fewer pieces`() {
        val (plain, plainChunks, reply) = play(false)
        val (drafted, draftedChunks, _) = play(true)
        assertEquals(plain, drafted)
        assertEquals(11, plainChunks)
        assertEquals(6, draftedChunks)
        assertEquals(11, reply.outputTokens)
    }

    @Test
    fun `the script can be cancelled`() {
        val (_, chunks, reply) = play(false, cancelAfter = 3)
        assertEquals(3, chunks)
        assertTrue(reply.cancelled)
    }
}
