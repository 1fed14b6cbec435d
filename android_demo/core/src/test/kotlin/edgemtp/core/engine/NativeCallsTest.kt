package edgemtp.core.engine

import org.junit.jupiter.api.Test
import java.util.concurrent.CancellationException
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

class NativeCallsTest {
    @Test
    fun `whatever a start throws is a refusal with its words`() {
        assertEquals(1, refusing { 1 })
        val thrown = listOf(IllegalStateException("not found"), UnsatisfiedLinkError("no liblitertlm"), Exception())
        val words = thrown.map { error -> assertFailsWith<EngineRefused> { refusing { throw error } }.message }
        assertEquals(listOf("not found", "no liblitertlm", "Exception"), words)
        assertEquals(
            "as it is",
            assertFailsWith<EngineRefused> { refusing { throw EngineRefused("as it is") } }.message,
        )
        assertFailsWith<OutOfMemoryError> { refusing { throw OutOfMemoryError() } }
    }

    @Test
    fun `whatever a turn throws is a failure with its words`() {
        assertEquals(1, failing { 1 })
        assertEquals("x", assertFailsWith<GenerationFailed> { failing { error("x") } }.message)
        assertEquals("y", assertFailsWith<GenerationFailed> { failing { throw GenerationFailed("y") } }.message)
    }

    private fun ended(error: Throwable?): Boolean {
        val end = StreamEnd()
        thread { end.over(error) }
        return end.await()
    }

    @Test
    fun `a stream ends, is cancelled, or fails`() {
        assertFalse(ended(null))
        assertTrue(ended(CancellationException("stop")))
        assertTrue(ended(RuntimeException("CANCELLED: by the user")))
        assertEquals(
            "INTERNAL: x",
            assertFailsWith<GenerationFailed> { ended(RuntimeException("INTERNAL: x")) }.message,
        )
    }
}
