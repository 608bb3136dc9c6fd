# Builds a small image with nothing but headwater in it. `--target clinic` adds the clinic at work
# that docker-compose.yml uses as its writer.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package headwater --bin headwater \
        --package headwater-rig --bin headwater-clinic \
    && install -D -t /out target/release/headwater target/release/headwater-clinic

FROM debian:bookworm-slim AS headwater
RUN useradd --system --uid 10001 --home-dir /var/lib/headwater --shell /usr/sbin/nologin headwater \
    && install -d -o headwater -g headwater -m 0700 /var/lib/headwater \
    && install -d -o headwater -g headwater -m 0755 /enrolment
COPY --from=build /out/headwater /usr/local/bin/headwater
COPY schema-maps /usr/share/headwater/schema-maps
COPY packaging/docker/parent packaging/docker/child /usr/local/bin/
USER headwater
VOLUME /var/lib/headwater
ENTRYPOINT ["headwater"]
CMD ["run"]

FROM headwater AS clinic
COPY --from=build /out/headwater-clinic /usr/local/bin/headwater-clinic
ENTRYPOINT ["headwater-clinic"]
CMD ["--help"]

# The last stage is what `docker build .` makes.
FROM headwater
