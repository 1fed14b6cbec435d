package edgemtp.core.bundle

import java.nio.ByteBuffer

private const val MAX_ITEMS = 1 shl 16

/** The root table of the flatbuffer in [buffer] (little-endian). Every access is checked by the buffer's own bounds. */
internal fun rootTable(buffer: ByteBuffer): FlatTable = FlatTable(buffer, buffer.getInt(0))

/**
 * A table of a flatbuffer at [position]; fields by number, in the schema's order.
 *
 * Format: https://flatbuffers.dev/internals/. IndexOutOfBoundsException where the data points outside the buffer; a sum
 * that overflows is negative or inside, so it does no harm.
 */
internal class FlatTable(
    private val buffer: ByteBuffer,
    private val position: Int,
) {
    /** Unsigned byte of [field], 0 where it is absent. */
    fun byte(field: Int): Int = place(field)?.let { buffer.get(it).toInt() and 0xff } ?: 0

    /** 64-bit number of [field], 0 where it is absent. */
    fun long(field: Int): Long = place(field)?.let(buffer::getLong) ?: 0

    /** Text of [field], null where it is absent. */
    fun text(field: Int): String? = target(field)?.let(::textAt)

    /** Table of [field], null where it is absent. */
    fun table(field: Int): FlatTable? = target(field)?.let { FlatTable(buffer, it) }

    /** Tables of the list in [field], none where it is absent. */
    fun tables(field: Int): List<FlatTable> {
        val start = target(field) ?: return emptyList()
        val count = buffer.getInt(start)
        if (count !in 0..MAX_ITEMS) throw IndexOutOfBoundsException("a list of $count")
        return List(count) { index -> follow(start + 4 + 4 * index).let { FlatTable(buffer, it) } }
    }

    private fun textAt(start: Int): String {
        val length = buffer.getInt(start)
        if (length < 0 || length > buffer.limit() - start - 4) throw IndexOutOfBoundsException("a text of $length")
        val bytes = ByteArray(length) { buffer.get(start + 4 + it) }
        return String(bytes, Charsets.UTF_8)
    }

    private fun target(field: Int): Int? = place(field)?.let(::follow)

    private fun follow(at: Int): Int = at + buffer.getInt(at)

    private fun place(field: Int): Int? {
        val layout = position - buffer.getInt(position)
        val slot = 4 + 2 * field
        if (slot >= (buffer.getShort(layout).toInt() and 0xffff)) return null
        val offset = buffer.getShort(layout + slot).toInt() and 0xffff
        return if (offset == 0) null else position + offset
    }
}
