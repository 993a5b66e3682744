import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ManagedChannelBuilder;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.UnaryOperator;

/**
 * {@code GrpcApplication LABEL IP PORT NEXT}: somebody's own application of gRPC, of every kind of call. It forwards nothing
 * and knows nothing of where it runs; what goes with its calls is its instrumentation's doing. NEXT is a host and port, or
 * {@code -} for none. The messages are bytes: no schema is needed to see who has answered.
 */
public final class GrpcApplication {
  private static final String SERVICE = "lane.Chain";

  private static final MethodDescriptor<byte[], byte[]> UNARY = method("Unary", MethodType.UNARY);
  private static final MethodDescriptor<byte[], byte[]> DOWN = method("Down", MethodType.SERVER_STREAMING);
  private static final MethodDescriptor<byte[], byte[]> UP = method("Up", MethodType.CLIENT_STREAMING);
  private static final MethodDescriptor<byte[], byte[]> BOTH = method("Both", MethodType.BIDI_STREAMING);
  private static final MethodDescriptor<byte[], byte[]> WAIT = method("Wait", MethodType.UNARY);
  private static final MethodDescriptor<byte[], byte[]> WAITS = method("Waits", MethodType.UNARY);

  private final String own;
  /** Whom it calls; null at the last. */
  private final Channel next;
  /** Calls at the last one that end with their caller alone: those that wait, and those that have waited. */
  private final AtomicLong waiting = new AtomicLong();
  private final AtomicLong waited = new AtomicLong();

  private GrpcApplication(String own, Channel next) {
    this.own = own;
    this.next = next;
  }

  public static void main(String[] words) throws Exception {
    Channel next =
        words[3].equals("-") ? null : ManagedChannelBuilder.forTarget(words[3]).usePlaintext().build();
    GrpcApplication application = new GrpcApplication(words[0] + "[" + words[1] + "]", next);
    NettyServerBuilder.forAddress(new InetSocketAddress(words[1], Integer.parseInt(words[2])))
        .addService(application.service())
        .build()
        .start()
        .awaitTermination();
  }

  private ServerServiceDefinition service() {
    return ServerServiceDefinition.builder(SERVICE)
        .addMethod(UNARY, ServerCalls.asyncUnaryCall(this::unary))
        .addMethod(DOWN, ServerCalls.asyncServerStreamingCall(this::down))
        .addMethod(UP, ServerCalls.asyncClientStreamingCall(this::up))
        .addMethod(BOTH, ServerCalls.asyncBidiStreamingCall(this::both))
        .addMethod(WAIT, ServerCalls.asyncUnaryCall(this::await))
        .addMethod(WAITS, ServerCalls.asyncUnaryCall(this::waits))
        .build();
  }

  private void unary(byte[] request, StreamObserver<byte[]> answers) {
    if (next == null) {
      answer(answers, own);
    } else {
      ClientCalls.asyncUnaryCall(call(UNARY), request, prefixing(answers));
    }
  }

  private void down(byte[] request, StreamObserver<byte[]> answers) {
    if (next == null) {
      answer(answers, own, own, own);
    } else {
      ClientCalls.asyncServerStreamingCall(call(DOWN), request, prefixing(answers));
    }
  }

  private StreamObserver<byte[]> up(StreamObserver<byte[]> answers) {
    if (next != null) {
      return ClientCalls.asyncClientStreamingCall(call(UP), prefixing(answers));
    }
    AtomicLong count = new AtomicLong();
    return observer(
        answers, part -> count.incrementAndGet(), () -> answer(answers, own + " " + count.get()));
  }

  private StreamObserver<byte[]> both(StreamObserver<byte[]> answers) {
    if (next != null) {
      return ClientCalls.asyncBidiStreamingCall(call(BOTH), prefixing(answers));
    }
    return observer(answers, part -> answers.onNext(bytes(own)), answers::onCompleted);
  }

  private void await(byte[] request, StreamObserver<byte[]> answers) {
    if (next != null) {
      ClientCalls.asyncUnaryCall(call(WAIT), request, unchanged(answers));
      return;
    }
    waiting.incrementAndGet();
    ((ServerCallStreamObserver<byte[]>) answers)
        .setOnCancelHandler(
            () -> {
              waiting.decrementAndGet();
              waited.incrementAndGet();
            });
  }

  private void waits(byte[] request, StreamObserver<byte[]> answers) {
    if (next == null) {
      answer(answers, waiting.get() + " " + waited.get());
    } else {
      ClientCalls.asyncUnaryCall(call(WAITS), request, unchanged(answers));
    }
  }

  private ClientCall<byte[], byte[]> call(MethodDescriptor<byte[], byte[]> method) {
    return next.newCall(method, CallOptions.DEFAULT);
  }

  private static void answer(StreamObserver<byte[]> answers, String... parts) {
    for (String part : parts) {
      answers.onNext(bytes(part));
    }
    answers.onCompleted();
  }

  private StreamObserver<byte[]> prefixing(StreamObserver<byte[]> answers) {
    return mapping(answers, part -> bytes(own + " -> " + new String(part, StandardCharsets.UTF_8)));
  }

  private static StreamObserver<byte[]> unchanged(StreamObserver<byte[]> answers) {
    return mapping(answers, UnaryOperator.identity());
  }

  private static StreamObserver<byte[]> mapping(
      StreamObserver<byte[]> answers, UnaryOperator<byte[]> map) {
    return observer(answers, part -> answers.onNext(map.apply(part)), answers::onCompleted);
  }

  /** What is wrong goes on to {@code answers}. */
  private static StreamObserver<byte[]> observer(
      StreamObserver<byte[]> answers, java.util.function.Consumer<byte[]> onNext, Runnable onEnd) {
    return new StreamObserver<>() {
      @Override
      public void onNext(byte[] part) {
        onNext.accept(part);
      }

      @Override
      public void onError(Throwable error) {
        answers.onError(error);
      }

      @Override
      public void onCompleted() {
        onEnd.run();
      }
    };
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static MethodDescriptor<byte[], byte[]> method(String name, MethodType type) {
    return MethodDescriptor.<byte[], byte[]>newBuilder(Bytes.PLAIN, Bytes.PLAIN)
        .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, name))
        .setType(type)
        .build();
  }

  /** Messages that are bytes already. */
  private enum Bytes implements MethodDescriptor.Marshaller<byte[]> {
    PLAIN;

    @Override
    public InputStream stream(byte[] message) {
      return new ByteArrayInputStream(message);
    }

    @Override
    public byte[] parse(InputStream message) {
      try {
        return message.readAllBytes();
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  }
}
