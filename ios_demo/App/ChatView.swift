import EdgeMTPKit
import SwiftUI

/// A conversation with the MTP switch, live figures, and the phone's state.
struct ChatView: View {
  @Bindable var model: AppModel
  @Bindable var chat: ChatModel
  @State private var draft = ""

  var body: some View {
    NavigationStack {
      VStack(alignment: .leading) {
        Toggle("MTP", isOn: $model.choices.mtp).disabled(chat.state != .ready)
        FiguresView(figures: chat.figures, reading: chat.reading, acceptance: chat.lastAcceptance)
        ScrollView {
          ForEach(chat.lines) { line in
            Text(line.text).padding().foregroundStyle(line.isUser ? Color.secondary : Color.primary)
          }
        }
        entry
      }
      .padding()
      .navigationTitle("Chat")
      .advice($chat.advice)
    }
  }

  private var entry: some View {
    HStack {
      TextField("Message", text: $draft)
      switch chat.state {
      case .ready: Button("Send") { send() }.disabled(draft.isEmpty)
      case .loading: ProgressView()
      case .answering: Button("Stop") { Task { await chat.cancel() } }
      }
      Button("Clear") { chat.clear() }.disabled(chat.state != .ready)
    }
  }

  private func send() {
    let text = draft
    draft = ""
    Task { await model.say(text) }
  }
}

/// Speed, heat and memory in one line each.
struct FiguresView: View {
  let figures: ReplyFigures
  let reading: DeviceReading
  let acceptance: Double?

  var body: some View {
    VStack(alignment: .leading) {
      Text(speed)
      Text(phone)
      if let acceptance { Text("last engine's draft acceptance \(Shown.number(acceptance, digits: 3))") }
    }
    .font(.footnote)
  }

  private var speed: String {
    let rate = figures.tokensPerSecond.map { (figures.isFinal ? "" : "≈ ") + Shown.number($0, digits: 1) } ?? "–"
    let pieces = figures.tokensPerPiece.map { Shown.number($0, digits: 2) } ?? "–"
    let first = figures.firstPieceMs.map { Shown.number($0, digits: 0) } ?? "–"
    return "\(rate) tok/s, \(pieces) tokens a piece, first after \(first) ms"
  }

  private var phone: String {
    let heat = reading.thermalRaw ?? "unknown"
    let used = reading.memFootprintBytes.map(Sizes.text) ?? "–"
    let limit = reading.memFootprintBytes.flatMap { used in reading.memAvailableBytes.map { Sizes.text(used + $0) } }
    return "thermal state \(heat), memory \(used) of \(limit ?? "–")"
  }
}

/// Numbers for people.
enum Shown {
  static func number(_ value: Double, digits: Int) -> String {
    value.formatted(.number.precision(.fractionLength(digits)))
  }
}
