package io.laneway.sample;

import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadFactory;
import java.util.function.Supplier;

/** Threads as applications have always started them, each kind when it is first needed: while a request is served. */
class Workers {
    private final Timer timer = new Timer("timer", true);
    private ExecutorService pool;
    private ForkJoinPool forkJoinPool;
    private BlockingQueue<FutureTask<String>> queue;

    /** A thread for one call. */
    static String onThread(Supplier<String> call) {
        FutureTask<String> answer = new FutureTask<>(call::get);
        new Thread(answer).start();
        return of(answer);
    }

    /** The same as a class of its own, which starts another. */
    static String onThreadOfThread(Supplier<String> call) {
        FutureTask<String> answer = new FutureTask<>(() -> onThread(call));
        class Caller extends Thread {
            @Override
            public void run() {
                answer.run();
            }
        }
        new Caller().start();
        return of(answer);
    }

    /** A pool of the JDK's, with a factory of one's own. */
    synchronized String inPool(Supplier<String> call) {
        if (pool == null) {
            ThreadFactory factory = task -> {
                Thread thread = new Thread(() -> task.run(), "pool");
                thread.setDaemon(true);
                return thread;
            };
            pool = Executors.newFixedThreadPool(1, factory);
        }
        FutureTask<String> answer = new FutureTask<>(call::get);
        pool.execute(answer);
        return of(answer);
    }

    /** A worker made by hand: nobody sees which request a task in its queue is of. */
    synchronized String byWorker(Supplier<String> call) {
        if (queue == null) {
            queue = new LinkedBlockingQueue<>();
            BlockingQueue<FutureTask<String>> tasks = queue;
            Thread worker = new Thread(() -> {
                while (true) {
                    try {
                        tasks.take().run();
                    } catch (InterruptedException stopped) {
                        return;
                    }
                }
            }, "worker");
            worker.setDaemon(true);
            worker.start();
        }
        FutureTask<String> answer = new FutureTask<>(call::get);
        queue.add(answer);
        return of(answer);
    }

    /** One of the JDK's that has queues of its own. */
    synchronized String inForkJoinPool(Supplier<String> call) {
        if (forkJoinPool == null) {
            forkJoinPool = new ForkJoinPool(1);
        }
        return forkJoinPool.submit(call::get).join();
    }

    /** That pool, asked by who has no request: a timer that was there before. */
    String byTimer(Supplier<String> call) {
        FutureTask<String> answer = new FutureTask<>(() -> inForkJoinPool(call));
        timer.schedule(new TimerTask() {
            @Override
            public void run() {
                answer.run();
            }
        }, 0);
        return of(answer);
    }

    private static String of(FutureTask<String> answer) {
        try {
            return answer.get();
        } catch (Exception failed) {
            throw new IllegalStateException(failed);
        }
    }
}
